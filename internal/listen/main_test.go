// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package listen

// What the tests share: sets that are closed at the end, inherited sockets, and who leaks descriptors.

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const patience = 30 * time.Second

func specs(t *testing.T, flags ...string) []Spec {
	t.Helper()
	var list []Spec
	for _, text := range flags {
		spec, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, spec)
	}
	return list
}

// open opens the sockets of some flags until the test ends.
func open(t *testing.T, inherited []Inherited, flags ...string) *Set {
	t.Helper()
	return openWith(t, Options{}, inherited, flags...)
}

func openWith(t *testing.T, o Options, inherited []Inherited, flags ...string) *Set {
	t.Helper()
	set, err := Open(specs(t, flags...), inherited, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	return set
}

// refused checks the error of Open, and that it left nothing open.
func refused(t *testing.T, want string, flags ...string) {
	t.Helper()
	before := descriptors(t)
	set, err := Open(specs(t, flags...), nil, Options{})
	if err == nil {
		set.Close()
	}
	if err == nil || err.Error() != want {
		t.Errorf("%q: %v\nwant %s", flags, err, want)
	}
	if after := descriptors(t); !slices.Equal(before, after) {
		t.Errorf("%q leaves descriptors open: before %q, after %q", flags, before, after)
	}
}

// inherit binds a socket as a parent would and hands it down: kept at exec, in non-blocking mode.
func inherit(t *testing.T, network, address string) int {
	t.Helper()
	var listener interface {
		net.Listener
		File() (*os.File, error)
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	switch l := l.(type) {
	case *net.TCPListener:
		listener = l
	case *net.UnixListener:
		l.SetUnlinkOnClose(false)
		listener = l
	}
	file, err := listener.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD, 3)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func address(t *testing.T, fd int) string {
	t.Helper()
	s, err := describe("", fd)
	if err != nil {
		t.Fatal(err)
	}
	return s.Address
}

// descriptors lists what this process has open.
func descriptors(t *testing.T) []string {
	t.Helper()
	// The first pipe starts the netpoller, which has descriptors of its own.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	w.Close()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		if link, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name())); err == nil {
			all = append(all, e.Name()+" "+link)
		}
	}
	return all
}

// dial connects to a socket's address; the connection is closed when the test ends.
func dial(t *testing.T, s *Socket) error {
	t.Helper()
	network, address := "tcp", s.Address
	if path, ok := strings.CutPrefix(s.Address, "unix:"); ok {
		network, address = "unix", path
	}
	conn, err := net.DialTimeout(network, address, patience)
	if err == nil {
		t.Cleanup(func() { conn.Close() })
	}
	return err
}

// accept takes a connection from a listening socket.
func accept(t *testing.T, fd int) int {
	t.Helper()
	patience := unix.NsecToTimeval(patience.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience); err != nil {
		t.Fatal(err)
	}
	conn, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// connect opens a connection that does not wait for ever.
func connect(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, patience)
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(patience))
	}
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func names(set *Set) []string {
	var list []string
	for _, s := range set.Sockets {
		list = append(list, s.Name)
	}
	return list
}

func port(s *Socket) string { return strconv.Itoa(s.Port) }

func isRefused(err error) bool { return errors.Is(err, unix.ECONNREFUSED) }

// onSpoiltThread runs what changes its thread for good, which ends with it. The main thread never ends, and stands for
// all in /proc/self.
func onSpoiltThread(spoil func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			onSpoiltThread(spoil) // while this goroutine occupies the main thread
			runtime.UnlockOSThread()
			return
		}
		spoil()
	}()
	<-done
}

func file(fd int) *os.File { return os.NewFile(uintptr(fd), "socket") }
