// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package handover

// The socket: what is accepted as one, and packets without waiting.
//
// The process that sent it may have kept it: flags (O_NONBLOCK) and options are then shared, and it can read there. Hence
// MSG_DONTWAIT with every call.

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// packetMax is the most that is sent or received at once, in bytes.
const packetMax = 64 << 10

// check refuses what is not a connected AF_UNIX socket of type SOCK_SEQPACKET.
func check(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var problem error
	err = raw.Control(func(fd uintptr) {
		domain, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN)
		if err != nil {
			problem = errors.New("it is no socket")
			return
		}
		kind, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TYPE)
		if err != nil || domain != unix.AF_UNIX || kind != unix.SOCK_SEQPACKET {
			problem = errors.New("it is not of socketpair(AF_UNIX, SOCK_SEQPACKET)")
			return
		}
		if _, err := unix.Getpeername(int(fd)); err != nil {
			problem = errors.New("it has no other end")
		}
	})
	return errors.Join(err, problem)
}

// receive reads a packet; ready is false when there is none yet. A packet of no bytes is the end of the connection, one
// beyond packetMax an error. Descriptors that come with it are dropped by the kernel.
func receive(fd int) (packet []byte, ready bool, err error) {
	size, err := read(fd, nil, unix.MSG_PEEK|unix.MSG_TRUNC)
	if err == nil && size > packetMax {
		return nil, true, fmt.Errorf("it sent %d bytes at once, at most %d are allowed", size, packetMax)
	}
	if err == nil && size > 0 {
		packet = make([]byte, size)
		size, err = read(fd, packet, 0)
	}
	switch {
	case errors.Is(err, unix.EAGAIN):
		return nil, false, nil
	case err != nil || size == 0:
		return nil, true, ErrGone
	}
	return packet[:size], true, nil
}

func read(fd int, p []byte, flags int) (size int, err error) {
	for {
		size, _, _, _, err = unix.Recvmsg(fd, p, nil, flags|unix.MSG_DONTWAIT)
		if !errors.Is(err, unix.EINTR) {
			return size, err
		}
	}
}

// send writes a packet; ready is false when there is no room yet.
func send(fd int, packet, rights []byte) (ready bool, err error) {
	for {
		_, err = unix.SendmsgN(fd, packet, rights, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	switch {
	case errors.Is(err, unix.EAGAIN):
		return false, nil
	case errors.Is(err, unix.EPIPE), errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.ENOTCONN), errors.Is(err, unix.ECONNREFUSED):
		err = ErrGone
	}
	return true, err
}
