// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package ready

// Closing a notify socket while descriptors are on their way.

import (
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestSocketsThatNobodyGetsAreClosed(t *testing.T) {
	n, err := Listen(t.Name())
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, n)
	busy, free, running := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		running <- n.Run(func(Message) {
			close(busy)
			<-free
		})
	}()
	send(t, c, "READY=1")
	<-busy
	var all []int
	for range 3 { // one in the hand of receive, others in the socket
		mine, theirs := packetPair(t)
		closeLater(t, mine)
		all = append(all, mine)
		sendWith(t, c, "X_PREFORKD_TAKES=*", theirs)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	close(free)
	if err := <-running; err != nil {
		t.Error(err)
	}
	for _, mine := range all {
		ended(t, mine)
	}
}

// Close finds it in the window, merged into a message that is not handed on any more.
func TestASocketInTheWindowIsClosed(t *testing.T) {
	n, err := Listen(t.Name())
	if err != nil {
		t.Fatal(err)
	}
	running := make(chan error, 1)
	go func() {
		running <- n.Run(func(m Message) { m.drop() })
	}()
	c := dial(t, n)
	mine, theirs := packetPair(t)
	closeLater(t, mine)
	send(t, c, "READY=1") // opens a window
	sendWith(t, c, "X_PREFORKD_TAKES=*", theirs)
	pollUntil(t, "read", func() bool { return waitingBytes(t, n) == 0 })
	if err := errors.Join(n.Close(), <-running); err != nil {
		t.Error(err)
	}
	ended(t, mine)
}

// A worker chooses what the close of its descriptors takes: here a minute.
func TestADescriptorThatLingersDoesNotHoldUpClose(t *testing.T) {
	for _, count := range []int{1, rightsMax + 1} { // closed by us; one of them by the kernel, inside recvmsg
		for _, running := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d, running %v", count, running), func(t *testing.T) {
				n, err := Listen(t.Name())
				if err != nil {
					t.Fatal(err)
				}
				var fds []int
				for range count {
					fds = append(fds, lingering(t))
				}
				sendWith(t, dial(t, n), "FDSTORE=1", fds...)
				ran := make(chan error, 1)
				if running {
					go func() { ran <- n.Run(func(Message) {}) }()
					pollUntil(t, "read", func() bool { return waitingBytes(t, n) == 0 })
				} else {
					ran <- nil
				}
				closed := make(chan error, 1)
				go func() { closed <- errors.Join(n.Close(), <-ran) }()
				select {
				case err := <-closed:
					if err != nil {
						t.Error(err)
					}
				case <-time.After(patience / 2):
					t.Error("it waits")
				}
			})
		}
	}
}

// waitingBytes is what is in the socket, unread.
func waitingBytes(t *testing.T, n *Notifier) (size int) {
	t.Helper()
	raw, err := n.conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { size, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return size
}

func pollUntil(t *testing.T, fact string, holds func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("not %s after %v", fact, patience)
		case <-time.After(time.Millisecond):
		}
	}
}

// lingering is a descriptor whose last close takes a minute, or until the test ends: a TCP socket with unsent data.
func lingering(t *testing.T) (fd int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if ctlErr := raw.Control(func(n uintptr) {
		for filled := error(nil); filled == nil; {
			_, filled = unix.SendmsgN(int(n), make([]byte, 1<<16), nil, nil, unix.MSG_DONTWAIT)
		}
		err = unix.SetsockoptLinger(int(n), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 60})
		if err == nil {
			fd, err = unix.FcntlInt(n, unix.F_DUPFD_CLOEXEC, 0)
		}
	}); errors.Join(ctlErr, err) != nil {
		t.Fatal(ctlErr, err)
	}
	return fd
}
