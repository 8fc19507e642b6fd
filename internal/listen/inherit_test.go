// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package listen

// Sockets that were handed down, and names.

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestListenersHaveNames(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ flags, want []string }{
		{nil, nil},
		{[]string{"127.0.0.1:0"}, []string{"http"}},
		{[]string{"127.0.0.1:0", "127.0.0.1:0", "unix:" + dir + "/1"}, []string{"http", "http2", "http3"}},
		{[]string{"127.0.0.1:0", "web=127.0.0.1:0", "127.0.0.1:0"}, []string{"http", "web", "http2"}},
		{[]string{"127.0.0.1:0", "http=127.0.0.1:0", "http2=127.0.0.1:0"}, []string{"http3", "http", "http2"}},
	} {
		if have := names(open(t, nil, c.flags...)); !slices.Equal(have, c.want) {
			t.Errorf("%q have the names %q, want %q", c.flags, have, c.want)
		}
	}
	refused(t, `cannot use --listen name "a" twice: give each its own NAME=`, "a=127.0.0.1:0", "a=127.0.0.1:0")
}

func TestInheritedSocketsFollowTheFlagsAndKeepTheirNames(t *testing.T) {
	path := t.TempDir() + "/app.sock"
	inherited := []Inherited{
		{"Web.socket", inherit(t, "tcp", "127.0.0.1:0")},
		{"LISTEN_FD_4", inherit(t, "tcp", "127.0.0.1:0")},
		// A unit with two addresses hands down two sockets of its name.
		{"Web.socket", inherit(t, "unix", path)},
	}
	set := open(t, inherited, "127.0.0.1:0")
	if have, want := names(set), []string{"http", "web", "http2", "web2"}; !slices.Equal(have, want) {
		t.Errorf("the names are %q, want %q", have, want)
	}
	for i, s := range set.Sockets[1:] {
		if s.ends[0].fd != inherited[i].FD {
			t.Errorf("%s has the descriptor %d, want %d", s.Name, s.ends[0].fd, inherited[i].FD)
		}
	}
	if s := set.Sockets[3]; s.Address != "unix:"+path {
		t.Errorf("the address of %s is %s", s.Name, s.Address)
	}
	if err := set.Listen(0); err != nil {
		t.Fatal(err)
	}
	for _, s := range set.Sockets {
		if err := dial(t, s); err != nil {
			t.Errorf("%s: %v", s.Name, err)
		}
	}
	set.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the file of a socket that systemd made is gone: %v", err)
	}
	for _, in := range inherited {
		if _, err := unix.FcntlInt(uintptr(in.FD), unix.F_GETFD, 0); err == nil {
			t.Errorf("descriptor %d is still open", in.FD)
		}
	}
}

func TestAFlagWithTheNameOrAddressOfAnInheritedSocketIsThatSocket(t *testing.T) {
	path := t.TempDir() + "/app.sock"
	for _, c := range []struct {
		name             string // of the inherited socket
		network, address string
		flag             func(in string) string // from its address
		want             []string
	}{
		{"web", "tcp", "127.0.0.1:0", func(in string) string { return "web=" + in }, []string{"web"}},
		{"x", "tcp", "127.0.0.1:0", func(in string) string { return "web=" + in }, []string{"web"}},
		{"x", "tcp", "127.0.0.1:0", func(in string) string { return in }, []string{"x"}},
		{"x", "tcp4", "0.0.0.0:0", func(in string) string { return in[len("0.0.0.0"):] }, []string{"x"}},
		{"x", "tcp", ":0", func(in string) string { return in[len("[::]"):] }, []string{"x"}},
		{"x", "unix", path, func(string) string { return "unix:" + path }, []string{"x"}},
		{"x", "tcp", "127.0.0.1:0", func(string) string { return "127.0.0.1:0" }, []string{"http", "x"}},
		{"x", "tcp", "127.0.0.1:0", func(string) string { return "y=unix:" + path + "2" }, []string{"y", "x"}},
	} {
		if c.address == ":0" && !hasIPv6() {
			continue
		}
		fd := inherit(t, c.network, c.address)
		flag := c.flag(address(t, fd))
		set := open(t, []Inherited{{c.name, fd}}, flag)
		if have := names(set); !slices.Equal(have, c.want) {
			t.Errorf("--listen %s with an inherited %s at %s: %q, want %q", flag, c.name, c.address, have, c.want)
		} else if len(have) == 1 && set.FDs(0)[0] != fd {
			t.Errorf("--listen %s is not the inherited socket", flag)
		}
		set.Close()
	}
}

func TestANameOfAnInheritedSocketElsewhereIsRefused(t *testing.T) {
	a, b := inherit(t, "tcp", "127.0.0.1:0"), inherit(t, "tcp", "127.0.0.1:0")
	spec, err := Parse("b=" + address(t, a))
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open([]Spec{spec}, []Inherited{{"a", a}, {"b", b}}, Options{})
	if err == nil || !strings.HasPrefix(err.Error(), "cannot listen on b=") || !strings.Contains(err.Error(), "handed down") {
		t.Errorf("Open: %v", err)
	}
}

func TestADescriptorByNumber(t *testing.T) {
	fd, second := inherit(t, "tcp", "127.0.0.1:0"), inherit(t, "tcp", "127.0.0.1:0")
	set := open(t, []Inherited{{"x", second}}, fmt.Sprintf("web=fd://%d", fd), fmt.Sprintf("fd://%d", second))
	if want := []string{"web", "x"}; !slices.Equal(names(set), want) || set.FDs(0)[0] != fd || set.Sockets[1].ends[0].fd != second {
		t.Errorf("the sockets are %q, want %q", names(set), want)
	}
	if err := set.Listen(0); err != nil {
		t.Fatal(err)
	}
	if err := dial(t, set.Sockets[0]); err != nil {
		t.Error(err)
	}
}

func TestWhatIsNoListeningSocketIsRefusedAndNotClosed(t *testing.T) {
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	null, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(null)
	datagram, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(datagram)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	own := open(t, nil, "127.0.0.1:0").FDs(0)[0]

	flag := func(fd int) string { return fmt.Sprintf("fd://%d", fd) }
	for fd, why := range map[int]string{
		null:     ": it is not a stream socket; see what the parent hands down",
		datagram: ": it is not a stream socket; see what the parent hands down",
		pair[0]:  ": it is a connection, not a listening socket (systemd: set Accept=no)",
		own:      ": the parent did not hand it down; see that it is open there and not close-on-exec",
		1 << 20:  ": the parent did not hand it down; see that it is open there and not close-on-exec",
	} {
		refused(t, "cannot listen on "+flag(fd)+why, "127.0.0.1:0", flag(fd))
	}
	fd := inherit(t, "tcp", "127.0.0.1:0")
	before := descriptors(t)
	_, err = Open(specs(t, "a="+flag(fd), "b="+flag(fd)), nil, Options{})
	if want := "cannot listen on " + flag(fd) + " twice: give each --listen its own"; err == nil || err.Error() != want {
		t.Errorf("the error is %v, want %s", err, want)
	}
	if after := descriptors(t); len(after) != len(before)-1 {
		t.Errorf("descriptors before %q, after %q", before, after)
	}
}

func TestAnErrorClosesEverythingThatWasInherited(t *testing.T) {
	before := descriptors(t)
	good, last := inherit(t, "tcp", "127.0.0.1:0"), inherit(t, "tcp", "127.0.0.1:0")
	file, err := unix.Open(os.DevNull, unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(specs(t, "127.0.0.1:0"), []Inherited{{"a", good}, {"b", file}, {"c", last}}, Options{})
	if err == nil {
		t.Fatal("it took over a file")
	}
	if after := descriptors(t); !slices.Equal(before, after) {
		t.Errorf("descriptors before %q, after %q", before, after)
	}

	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	before = descriptors(t)
	good = inherit(t, "tcp", "127.0.0.1:0")
	if _, err = Open(specs(t, "127.0.0.1:0", taken.Addr().String()), []Inherited{{"a", good}}, Options{}); err == nil {
		t.Fatal("it took a port that is in use")
	}
	if after := descriptors(t); !slices.Equal(before, after) {
		t.Errorf("descriptors before %q, after %q", before, after)
	}
}

func TestListenTellsWhichSocketFailed(t *testing.T) {
	set := open(t, nil, "127.0.0.1:0")
	at := set.Sockets[0].Address
	unix.Close(set.Sockets[0].ends[0].fd)
	set.Sockets[0].ends[0].fd = 1 << 20
	if err := set.Listen(0); err == nil || err.Error() != "cannot listen on "+at+": bad file descriptor" {
		t.Errorf("the error is %v", err)
	}
	set.Sockets[0].ends[0].fd = -1
}
