// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package listen

// What the tests share: sets that are closed at the end, inherited sockets, and who leaks descriptors.

import (
	"errors"
	"net"
	"os"
	"path/filepath"
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
	set, err := Open(specs(t, flags...), inherited)
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
	set, err := Open(specs(t, flags...), nil)
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

func names(set *Set) []string {
	var list []string
	for _, s := range set.Sockets {
		list = append(list, s.Name)
	}
	return list
}

func port(s *Socket) string { return strconv.Itoa(s.Port) }

func isRefused(err error) bool { return errors.Is(err, unix.ECONNREFUSED) }
