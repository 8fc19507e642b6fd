// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package ready

// The notify socket, spoken to by real senders.

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// hear runs a new Notifier and returns what it hands on.
func hear(t *testing.T, uids ...uint32) (*Notifier, <-chan Message) {
	t.Helper()
	n, err := Listen(t.Name(), uids...)
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan Message)
	closed, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- n.Run(func(m Message) {
			select {
			case heard <- m:
			case <-closed:
			}
		})
	}()
	t.Cleanup(func() {
		close(closed)
		if err := errors.Join(n.Close(), n.Close(), <-ended); err != nil {
			t.Error(err)
		}
	})
	return n, heard
}

// dial is the sender's side.
func dial(t *testing.T, n *Notifier) *net.UnixConn {
	t.Helper()
	c, err := net.Dial("unixgram", n.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.UnixConn)
}

func send(t *testing.T, c *net.UnixConn, datagram string) {
	t.Helper()
	if _, err := c.Write([]byte(datagram)); err != nil {
		t.Fatal(err)
	}
}

// next returns the next message.
func next(t *testing.T, heard <-chan Message) Message {
	t.Helper()
	select {
	case m := <-heard:
		return m
	case <-time.After(patience):
		t.Fatal("nothing was heard")
		return Message{}
	}
}

func TestWhatAWorkerSaysIsHeard(t *testing.T) {
	n, heard := hear(t)
	t.Setenv("NOTIFY_SOCKET", n.Addr())
	if sent, err := daemon.SdNotify(false, daemon.SdNotifyReady); !sent || err != nil {
		t.Fatal(sent, err)
	}
	if m := next(t, heard); !m.Ready || m.PID != os.Getpid() {
		t.Fatalf("%+v, want ready from %d", m, os.Getpid())
	}
	send(t, dial(t, n), "STATUS=busy\nX_PREFORKD_REQUESTS=7")
	if m := next(t, heard); m.Ready || m.Status == nil || *m.Status != "busy" || m.Requests == nil || *m.Requests != 7 {
		t.Fatalf("%+v", m)
	}
}

func TestNamesAreUniqueAndFitWhereverTheyAreUsed(t *testing.T) {
	long := strings.Repeat("n", 200)
	a, _ := hear(t)
	for _, name := range []string{"", long, "default-0"} {
		n, err := Listen(name)
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		addr := n.Addr()
		if addr == a.Addr() || addr[0] != '@' || len(addr) > 107 || strings.ContainsAny(addr, " \n\x00") {
			t.Errorf("%q", addr)
		}
	}
}

func TestOnlyTheWorkersUserIsHeard(t *testing.T) {
	if unix.Getuid() != 0 {
		t.Skip("needs root, to become somebody else")
	}
	for want, uids := range map[string][]uint32{"from root": nil, "from nobody": {nobody}} {
		t.Run(want, func(t *testing.T) {
			n, heard := hear(t, uids...)
			asUser(t, nobody, func() { send(t, dial(t, n), "STATUS=from nobody") })
			// The socket keeps the order: had it been let through, it would come first.
			send(t, dial(t, n), "STATUS=from root")
			first := next(t, heard)
			if got := *first.Status; got != want {
				t.Errorf("heard %q, want %q", got, want)
			}
		})
	}
}

func TestBadDatagramsAreHarmless(t *testing.T) {
	n, heard := hear(t)
	c := dial(t, n)
	for _, bad := range []string{
		"", "\n", "\x00", "=", "READY", "\xff\xfe", strings.Repeat("=", messageMax),
		"READY=1\n" + strings.Repeat("x", messageMax), "READY=1\n" + strings.Repeat("x", 100_000),
	} {
		send(t, c, bad)
	}
	send(t, c, "WATCHDOG=1")
	if m := next(t, heard); m.Ready || !m.Watchdog {
		t.Errorf("%+v", m)
	}
}

// sd_notify_barrier sends the writing end of a pipe and waits for it to be closed; FDSTORE sends what it likes.
func TestDescriptorsSentAlongAreClosed(t *testing.T) {
	n, heard := hear(t)
	c := dial(t, n)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	before := openDescriptors(t)
	to, err1 := c.SyscallConn()
	pipe, err2 := w.SyscallConn()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	for _, count := range []int{1, 3, 253} { // 253 is the most the kernel takes
		_ = pipe.Control(func(fd uintptr) {
			fds := make([]int, count)
			for i := range fds {
				fds[i] = int(fd)
			}
			_ = to.Control(func(socket uintptr) {
				err = unix.Sendmsg(int(socket), []byte("READY=1\nFDSTORE=1"), unix.UnixRights(fds...), nil, 0)
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		if m := next(t, heard); !m.Ready || m.PID != os.Getpid() {
			t.Fatalf("%d descriptors: %+v", count, m)
		}
		if after := openDescriptors(t); after != before {
			t.Errorf("%d descriptors sent, %d more are open", count, after-before)
		}
	}
	w.Close()
	_ = r.SetReadDeadline(time.Now().Add(patience))
	if _, err := r.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("somebody still has the pipe: %v", err)
	}
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestAFloodIsMerged(t *testing.T) {
	const datagrams = 5 * windowMax
	n, err := Listen(t.Name())
	if err != nil {
		t.Fatal(err)
	}
	var calls atomic.Int64
	done, ended := make(chan struct{}), make(chan error, 1)
	began := time.Now()
	go func() {
		var last int64
		ended <- n.Run(func(m Message) {
			calls.Add(1)
			if m.Requests == nil || *m.Requests <= last {
				t.Errorf("%+v after %d requests", m, last)
				return
			}
			if last = *m.Requests; last == datagrams {
				close(done)
			}
		})
	}()
	c := dial(t, n)
	for i := range datagrams {
		send(t, c, fmt.Sprintf("X_PREFORKD_REQUESTS=%d", i+1))
	}
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("the last datagram was not heard")
	}
	// A call opens a window, and the next comes after it: however slow this machine is.
	if most := int64(time.Since(began)/window) + 1; calls.Load() > most {
		t.Errorf("%d calls for %d datagrams in %v, want at most %d", calls.Load(), datagrams, time.Since(began), most)
	}
	if err := errors.Join(n.Close(), <-ended); err != nil {
		t.Error(err)
	}
}

func TestAFloodOfNothingDoesNotStopWhatFollows(t *testing.T) {
	n, heard := hear(t)
	c := dial(t, n)
	for range 2*windowMax + windowMax/2 {
		send(t, c, "X_OTHER=1")
	}
	send(t, c, "READY=1")
	if m := next(t, heard); !m.Ready {
		t.Errorf("%+v", m)
	}
}

func TestCloseEndsRunThoughTheOwnerIsBusyAndTheWorkerFloods(t *testing.T) {
	n, err := Listen(t.Name())
	if err != nil {
		t.Fatal(err)
	}
	busy, free, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- n.Run(func(Message) {
			close(busy)
			<-free
		})
	}()
	c := dial(t, n)
	flood := make(chan error, 1)
	go func() {
		for {
			if _, err := c.Write([]byte("READY=1")); err != nil {
				flood <- err
				return
			}
		}
	}()
	<-busy
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if err := <-flood; !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("the sender is told %v, want connection refused", err)
	}
	close(free)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
