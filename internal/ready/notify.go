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
	return &Notifier{
		conn: conn.(*net.UnixConn),
		addr: addr,
		uids: append(slices.Clone(uids), 0, uint32(os.Geteuid())),
	}, nil
}

// Addr is the value of NOTIFY_SOCKET ("@…").
func (n *Notifier) Addr() string { return n.addr }

// Close ends Run, within 50 ms once handle has returned, and frees the name; what is still in the socket is dropped.
// It may be called more than once.
func (n *Notifier) Close() error {
	if err := n.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("cannot close the notify socket %s: %w", n.addr, err)
	}
	return nil
}

// Run calls handle, on this goroutine, for what the worker says, until Close; then it returns nil. The first message is
// handed on at once; what follows within 50 ms of one is merged into the next. So a worker that floods costs its owner
// twenty calls a second, and preforkd a bounded part of a core. Call it once.
//
// handle may block: nothing but this worker's own messages waits for it.
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
		}
	}
}

// receive reads until Close. What may not be heard is passed on too, as an empty message: it counts in a flood.
func (n *Notifier) receive(to chan<- Message) error {
	text := make([]byte, messageMax)
	// Room for the credentials, which come first, and for nothing else: the kernel then installs none of the
	// descriptors sent along (FDSTORE=1, BARRIER=1), but drops them and sets MSG_CTRUNC.
	control := make([]byte, unix.CmsgSpace(unix.SizeofUcred))
	for {
		size, controlSize, flags, _, err := n.conn.ReadMsgUnix(text, control)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot read the notify socket: %w", err)
		}
		var m Message
		if pid, ok := n.speaker(control[:controlSize]); ok && flags&unix.MSG_TRUNC == 0 {
			m = parse(text[:size])
			m.PID = pid
		}
		to <- m // Run takes it: it returns only after this goroutine
	}
}

// speaker returns who sent a datagram, if that user may.
func (n *Notifier) speaker(control []byte) (pid int, ok bool) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil || len(messages) == 0 {
		return 0, false
	}
	cred, err := unix.ParseUnixCredentials(&messages[0])
	if err != nil || !slices.Contains(n.uids, cred.Uid) {
		return 0, false
	}
	return int(cred.Pid), true
}
