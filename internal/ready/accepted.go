// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package ready

// Has a process accepted a connection? Under full load a server that handles one request at a time never waits: a healthy
// gunicorn sync worker that joined a saturated fleet was not seen waiting in ten seconds and 470 requests. An accepted
// connection has the listener's local port or path, as no connection made by the process itself can have (the kernel
// gives no port that somebody is bound to; the client end of a unix socket has no path).
//
// Such a connection may live for a millisecond, so it is asked itself, through a duplicate (pidfd_getfd, Linux 5.6), a few
// microseconds after its descriptor was seen. Where that is refused (Docker's default seccomp profile), the kernel's list
// of connections is compared with the descriptors (tables.go).

import (
	"errors"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// socket is a descriptor of the process looked at.
type socket struct {
	number int
	inode  uint64
}

func holds(sockets []socket, inode uint64) bool {
	return slices.ContainsFunc(sockets, func(s socket) bool { return s.inode == inode })
}

// listens tells whether fd is one of our listening sockets.
func (l *looker) listens(fd int) bool {
	return slices.ContainsFunc(l.listen, func(s socket) bool { return s.number == fd })
}

// accepted tells whether one of l.sockets comes from one of l.listen. An error means that preforkd may not ask them.
func (l *looker) accepted(pid int) (bool, error) {
	if len(l.sockets) == 0 {
		return false, nil
	}
	if l.proc != procfs {
		return false, errors.ErrUnsupported // these are not processes of this machine
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false, unlessGone(err)
	}
	defer unix.Close(pidfd)
	var from []string
	for _, s := range l.listen {
		name, _, err := ask(pidfd, s)
		if err != nil {
			return false, err
		}
		if name != "" {
			from = append(from, name)
		}
	}
	for _, s := range l.sockets {
		name, connected, err := ask(pidfd, s)
		if err != nil {
			return false, err
		}
		if connected && slices.Contains(from, name) {
			return true, nil
		}
	}
	return false, nil
}

// ask returns the local port or path of a socket, "" if it has none or is gone, and whether it is connected. The
// duplicate is closed at once: while it is open, the peer does not see a close by the worker.
func ask(pidfd int, s socket) (name string, connected bool, err error) {
	fd, err := unix.PidfdGetfd(pidfd, s.number, 0)
	if err != nil {
		return "", false, unlessGone(err)
	}
	defer unix.Close(fd)
	local, err := unix.Getsockname(fd)
	if err != nil {
		return "", false, nil // another file has the number by now
	}
	_, err = unix.Getpeername(fd)
	return portOrPath(local), err == nil, nil
}

func portOrPath(name unix.Sockaddr) string {
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		return strconv.Itoa(name.Port) // the address of a listener may be 0
	case *unix.SockaddrInet6:
		return strconv.Itoa(name.Port)
	case *unix.SockaddrUnix:
		return name.Name
	}
	return ""
}

// unlessGone returns err unless it only means that a process or a descriptor has ended meanwhile.
func unlessGone(err error) error {
	if gone(err) || errors.Is(err, unix.EBADF) {
		return nil
	}
	return err
}
