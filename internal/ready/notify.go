// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package ready

// The notify socket of a worker.

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	nameMax   = 60                    // bytes kept of a name: with the rest it stays below sun_path's 108
	window    = 50 * time.Millisecond // between two messages handed on
	windowMax = 1000                  // datagrams read in it; the rest waits in the socket, and its sender in send
)

// Notifier is the notify socket of one incarnation of one worker. Its methods may be called from any goroutine.
type Notifier struct {
	conn *net.UnixConn
	addr string
	uids []uint32

	closing func()
	closed  chan struct{} // Close was called
	freed   chan struct{} // and the socket is closed, with failed
	failed  error
}

// Listen opens an abstract datagram socket with an unguessable name that begins with name (cut where too long). Besides
// root and preforkd's own user, those in uids (the worker's) may speak on it.
func Listen(name string, uids ...uint32) (*Notifier, error) {
	addr := "@preforkd/" + name[:min(len(name), nameMax)] + "/" + rand.Text()
	// Before bind: a datagram that comes before SO_PASSCRED is set carries no credentials.
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
		})
		return errors.Join(err, failed)
	}}
	conn, err := config.ListenPacket(context.Background(), "unixgram", addr)
	if err != nil {
		return nil, fmt.Errorf("cannot open the notify socket of %s: %w", name, err)
	}
	n := &Notifier{
		conn:   conn.(*net.UnixConn),
		addr:   addr,
		uids:   append(slices.Clone(uids), 0, uint32(os.Geteuid())),
		closed: make(chan struct{}),
		freed:  make(chan struct{}),
	}
	n.closing = sync.OnceFunc(func() {
		close(n.closed)
		go func() {
			n.failed = n.conn.Close()
			close(n.freed)
		}()
	})
	return n, nil
}

// Addr is the value of NOTIFY_SOCKET ("@…").
func (n *Notifier) Addr() string { return n.addr }

// Close ends Run, within 0.1 s once handle has returned, and frees the name; what is still in the socket is dropped. It
// may be called more than once. It takes 50 ms at most: a descriptor in the socket whose close takes longer (Message.settle)
// keeps one thread of preforkd busy, and nobody else.
func (n *Notifier) Close() error {
	n.closing()
	select {
	case <-n.freed:
	case <-time.After(window):
		return nil
	}
	if n.failed != nil {
		return fmt.Errorf("cannot close the notify socket %s: %w", n.addr, n.failed)
	}
	return nil
}

// Run calls handle, on this goroutine, for what the worker says, until Close; then it returns nil. The first message is
// handed on at once; what follows within 50 ms of one is merged into the next. So a worker that floods costs its owner
// twenty calls a second, and preforkd a bounded part of a core. Call it once.
//
// handle may block: nothing but this worker's own messages waits for it. It owns the sockets in a message.
func (n *Notifier) Run(handle func(Message)) error {
	received, failed := make(chan Message), make(chan error, 1)
	go func() { failed <- n.receive(received) }()

	var (
		next    Message
		count   int              // datagrams in next
		from    = received       // nil while a full window leaves the rest in the socket
		elapsed <-chan time.Time // nil while no window is open
		timer   = time.NewTimer(window)
	)
	defer timer.Stop()
	defer func() { next.drop() }()
	handOn := func() {
		if !next.empty() {
			handle(next)
		}
		next, count = Message{}, 0
		timer.Reset(window)
		elapsed = timer.C
	}
	for {
		select {
		case m := <-from:
			next.merge(m)
			if count++; elapsed == nil {
				handOn()
			} else if count >= windowMax {
				from = nil
			}
		case <-elapsed:
			elapsed, from = nil, received
			if count > 0 {
				handOn()
			}
		case err := <-failed:
			return err
		case <-n.closed:
			select {
			case err := <-failed:
				return err
			case <-time.After(window): // it is in a close
				return nil
			}
		}
	}
}

// receive reads until Close. What may not be heard is passed on too, as an empty message: it counts in a flood.
func (n *Notifier) receive(to chan<- Message) error {
	text := make([]byte, messageMax)
	// Room for the credentials, which come first, and for a few descriptors.
	control := make([]byte, unix.CmsgSpace(unix.SizeofUcred)+unix.CmsgSpace(4*rightsMax))
	var allowed allowance
	for {
		size, controlSize, flags, _, err := n.conn.ReadMsgUnix(text, control) // with MSG_CMSG_CLOEXEC
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot read the notify socket: %w", err)
		}
		var m Message
		sender, fds := n.origin(control[:controlSize])
		if sender != nil && flags&unix.MSG_TRUNC == 0 {
			m = parse(text[:size])
			m.PID = int(sender.Pid)
		}
		m.settle(sender, fds, flags&unix.MSG_CTRUNC != 0, &allowed)
		select {
		case to <- m:
		case <-n.closed:
			m.drop()
			return nil
		}
	}
}

// origin returns who sent a datagram, nil unless that user may, and the descriptors that came with it.
func (n *Notifier) origin(control []byte) (sender *unix.Ucred, fds []int) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil, nil
	}
	for i := range messages {
		if cred, err := unix.ParseUnixCredentials(&messages[i]); err == nil && slices.Contains(n.uids, cred.Uid) {
			sender = cred
		}
		if rights, err := unix.ParseUnixRights(&messages[i]); err == nil {
			fds = append(fds, rights...)
		}
	}
	return sender, fds
}
