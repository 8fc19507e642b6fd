// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package ready

// Processes that take new versions themselves, and what is sent in place of their socket.

import (
	"errors"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// packetPair is a socketpair of the user who calls it.
func packetPair(t *testing.T) (mine, theirs int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fds[0], fds[1]
}

// sendWith sends descriptors along, and closes them.
func sendWith(t *testing.T, c *net.UnixConn, datagram string, fds ...int) {
	t.Helper()
	err := sendControl(c, datagram, unix.UnixRights(fds...))
	for _, fd := range fds {
		err = errors.Join(err, unix.Close(fd))
	}
	if err != nil {
		t.Error(err)
	}
}

func sendControl(c *net.UnixConn, datagram string, control []byte) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	return errors.Join(raw.Write(func(fd uintptr) bool {
		sent = unix.Sendmsg(int(fd), []byte(datagram), control, nil, unix.MSG_DONTWAIT)
		return !errors.Is(sent, unix.EAGAIN)
	}), sent)
}

// ended waits until nobody has the other end.
func ended(t *testing.T, fd int) {
	t.Helper()
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(poll, int(patience.Milliseconds()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n != 1 || poll[0].Revents&unix.POLLHUP == 0 {
			t.Errorf("somebody still has the other end: %d %v %#x", n, err, poll[0].Revents)
		}
		return
	}
}

func closeLater(t *testing.T, fd int) {
	t.Helper()
	t.Cleanup(func() { unix.Close(fd) })
}

func TestAProcessThatTakesDataIsHeardWithItsSocket(t *testing.T) {
	n, heard := hear(t)
	mine, theirs := packetPair(t)
	closeLater(t, mine)
	sendWith(t, dial(t, n), "READY=1\nX_PREFORKD_TAKES= emb  \x1busers", theirs)
	m := next(t, heard)
	if !m.Ready || len(m.Registrations) != 1 || m.Declined != "" {
		t.Fatalf("%+v", m)
	}
	r := m.Registrations[0]
	defer r.Socket.Close()
	if r.PID != os.Getpid() || cmp.Diff([]string{"emb", "\uFFFDusers"}, r.Takes) != "" {
		t.Errorf("%+v", r)
	}
	if _, err := unix.Write(mine, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	text := make([]byte, 9)
	if size, err := r.Socket.Read(text); err != nil || string(text[:size]) != "hello" {
		t.Errorf("%q, %v", text[:size], err)
	}
	if flags, err := unix.FcntlInt(r.Socket.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("workers would inherit it: %#x, %v", flags, err)
	}
}

func TestWhatIsNoSocketOfTheWorkerIsDeclined(t *testing.T) {
	const takes = "X_PREFORKD_TAKES=*"
	file := func(t *testing.T) int {
		fd, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		return fd
	}
	stranger := func(t *testing.T) (fd int) {
		if unix.Getuid() != 0 {
			t.Skip("needs root, to become somebody else")
		}
		asUser(t, nobody, func() {
			var mine int
			mine, fd = packetPair(t)
			closeLater(t, mine)
		})
		return fd
	}
	for name, test := range map[string]struct {
		datagram string
		fds      []func(*testing.T) int
		want     string
	}{
		"nothing":             {takes, nil, "no descriptor came with it"},
		"two":                 {takes, []func(*testing.T) int{file, file}, "more than one descriptor came with it"},
		"many":                {takes, []func(*testing.T) int{file, file, file, file}, "more than one descriptor came with it"},
		"a file":              {takes, []func(*testing.T) int{file}, "its descriptor is not a socketpair made by the user who sent it"},
		"somebody else's":     {takes, []func(*testing.T) int{stranger}, "its descriptor is not a socketpair made by the user who sent it"},
		"no names":            {"X_PREFORKD_TAKES= ", []func(*testing.T) int{file}, "it names no dataset"},
		"nothing asked for":   {"FDSTORE=1", []func(*testing.T) int{file}, ""},
		"a barrier, with two": {"BARRIER=1", []func(*testing.T) int{file, file}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			n, heard := hear(t)
			c := dial(t, n)
			var fds []int
			for _, open := range test.fds {
				fds = append(fds, open(t))
			}
			before := openDescriptors(t) - len(fds)
			sendWith(t, c, test.datagram+"\nWATCHDOG=1", fds...)
			m := next(t, heard)
			if !m.Watchdog || len(m.Registrations) != 0 || m.Declined != test.want {
				t.Errorf("%+v, want %q", m, test.want)
			}
			if after := openDescriptors(t); after != before {
				t.Errorf("%d descriptors more are open", after-before)
			}
		})
	}
}

func TestOnlyTheWorkersUserIsHeardWithASocket(t *testing.T) {
	if unix.Getuid() != 0 {
		t.Skip("needs root, to become somebody else")
	}
	for name, uids := range map[string][]uint32{"a stranger": nil, "the worker": {nobody}} {
		t.Run(name, func(t *testing.T) {
			n, heard := hear(t, uids...)
			c := dial(t, n)
			var mine int
			asUser(t, nobody, func() {
				var theirs int
				mine, theirs = packetPair(t)
				sendWith(t, c, "X_PREFORKD_TAKES=*", theirs)
			})
			closeLater(t, mine)
			send(t, c, "WATCHDOG=1") // the socket keeps the order
			first := next(t, heard)
			if got := len(first.Registrations) == 1; got != (uids != nil) {
				t.Fatalf("%+v", first)
			}
			for _, r := range first.Registrations {
				r.Socket.Close()
			}
			ended(t, mine)
		})
	}
}

// The owner gets one socket of a process at a time and so many in a minute; preforkd holds none beside.
func TestAFloodOfSocketsIsBounded(t *testing.T) {
	const sockets = 300
	before := openDescriptors(t)
	n, heard := hear(t)
	c := dial(t, n)
	mine := make([]int, sockets)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := range mine {
			var theirs int
			mine[i], theirs = packetPair(t)
			sendWith(t, c, "X_PREFORKD_TAKES="+strconv.Itoa(i), theirs)
		}
		send(t, c, "STOPPING=1")
	}()
	last, declined := -1, ""
	for {
		m := next(t, heard)
		for _, r := range m.Registrations {
			i, err := strconv.Atoi(r.Takes[0])
			if err != nil || i <= last || i >= registrationsMax || len(m.Registrations) != 1 {
				t.Errorf("%v after %d, %d at a time", r.Takes, last, len(m.Registrations))
			}
			last = i
			r.Socket.Close()
		}
		if m.Declined != "" {
			declined = m.Declined
		}
		if m.Stopping {
			break
		}
	}
	<-sent
	if last != registrationsMax-1 || declined != "more than 64 processes of this worker did so within a minute" {
		t.Errorf("the last one is %d, %q", last, declined)
	}
	for _, fd := range mine {
		ended(t, fd)
		unix.Close(fd)
	}
	if after := openDescriptors(t); after > before+3 { // n, c, and the runtime's epoll where this test was the first
		t.Errorf("%d descriptors more are open", after-before)
	}
}

func TestWhatWasUsedMayBeUsedAgain(t *testing.T) {
	again := make(chan time.Time, 1)
	a := allowance{used: registrationsMax, again: again}
	if a.take() {
		t.Error("one too many")
	}
	again <- time.Time{}
	for range registrationsMax {
		if !a.take() {
			t.Fatal("not again")
		}
	}
	if a.take() {
		t.Error("one too many")
	}
}

func TestProcessesThatRegisterTogetherAreAllHeard(t *testing.T) {
	if unix.Getuid() != 0 {
		t.Skip("needs root, to send in the name of other processes")
	}
	n, heard := hear(t)
	c := dial(t, n)
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	want := map[int]bool{}
	got := make(chan int, registrationsMax)
	go func() {
		for {
			select {
			case m := <-heard:
				for _, r := range m.Registrations {
					r.Socket.Close()
					got <- r.PID
				}
			case <-t.Context().Done():
				return
			}
		}
	}()
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || len(want) == registrationsMax {
			continue
		}
		mine, theirs := packetPair(t)
		closeLater(t, mine)
		control := append(unix.UnixCredentials(&unix.Ucred{Pid: int32(pid)}), unix.UnixRights(theirs)...)
		err = sendControl(c, "X_PREFORKD_TAKES=*", control)
		unix.Close(theirs)
		if err == nil {
			want[pid] = true
		} else if !errors.Is(err, unix.ESRCH) { // it has ended
			t.Fatal(err)
		}
	}
	if len(want) < 10 {
		t.Skipf("only %d processes", len(want))
	}
	for len(want) > 0 {
		select {
		case pid := <-got:
			delete(want, pid)
		case <-time.After(patience):
			t.Fatalf("%d were not heard", len(want))
		}
	}
}
