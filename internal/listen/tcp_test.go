// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestAPortIsBoundAtOnceAndListensLater(t *testing.T) {
	for _, flag := range []string{"127.0.0.1:0", "localhost:0", ":0", "0.0.0.0:0", "[::1]:0"} {
		if strings.Contains(flag, "::1") && !hasIPv6() {
			continue
		}
		set := open(t, nil, flag)
		s := set.Sockets[0]
		_, text, err := net.SplitHostPort(s.Address)
		if s.Port == 0 || text != port(s) || err != nil {
			t.Errorf("%s: the address is %s, the port %d", flag, s.Address, s.Port)
		}
		if n, ok := s.Queue(); n != 0 || !ok {
			t.Errorf("%s: the queue before it listens: %d %v", flag, n, ok)
		}
		if err := dial(t, s); !isRefused(err) {
			t.Errorf("%s: a connection before it listens: %v", flag, err)
		}
		for range 2 {
			if err := set.Listen(0); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 3 {
			if err := dial(t, s); err != nil {
				t.Fatalf("%s: %v", flag, err)
			}
			// The client may know of its connection before the server's side counts it.
			end := time.Now().Add(patience)
			n, ok := s.Queue()
			for n != i+1 && time.Now().Before(end) {
				n, ok = s.Queue()
			}
			if n != i+1 || !ok {
				t.Errorf("%s: the queue with %d connections: %d %v", flag, i+1, n, ok)
			}
		}
	}
}

// uvicorn, for one, does not switch Nagle's algorithm off on a socket that it is handed.
func TestAcceptedConnectionsDoNotWaitForMore(t *testing.T) {
	for _, o := range []Options{{}, slots(2)} {
		set := openWith(t, o, nil, "127.0.0.1:0", ":0")
		listenAll(t, set)
		for i, s := range set.Sockets {
			if err := dial(t, s); err != nil {
				t.Fatal(err)
			}
			var conn int
			err := error(unix.EAGAIN)
			for end := time.Now().Add(patience); err == unix.EAGAIN && time.Now().Before(end); { //nolint:errorlint // a bare errno
				for slot := 0; slot < max(1, o.Slots) && err != nil; slot++ {
					fd := set.FDs(slot)[i]
					_ = unix.SetNonblock(fd, true)
					conn, _, err = unix.Accept4(fd, unix.SOCK_CLOEXEC)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			on, err := unix.GetsockoptInt(conn, unix.IPPROTO_TCP, unix.TCP_NODELAY)
			unix.Close(conn)
			if on == 0 || err != nil {
				t.Errorf("%s, %v: TCP_NODELAY of an accepted connection: %d %v", s.Address, o.Accept, on, err)
			}
		}
	}
}

func hasIPv6() bool {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err == nil {
		l.Close()
	}
	return err == nil
}

func TestWithoutAHostBothFamiliesAreServed(t *testing.T) {
	set := open(t, nil, ":0")
	if err := set.Listen(0); err != nil {
		t.Fatal(err)
	}
	hosts := []string{"127.0.0.1"}
	if hasIPv6() {
		hosts = append(hosts, "::1")
	}
	for _, host := range hosts {
		if err := dial(t, &Socket{Address: net.JoinHostPort(host, port(set.Sockets[0]))}); err != nil {
			t.Error(err)
		}
	}
}

func TestAnAddressOfOneFamilyLeavesTheOtherFree(t *testing.T) {
	if !hasIPv6() {
		t.Skip("this machine has no IPv6")
	}
	for flag, want := range map[string]int{":0": 0, "[::]:0": 1, "[::1]:0": 1} {
		fd := open(t, nil, flag).FDs(0)[0]
		if only, err := unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY); only != want || err != nil {
			t.Errorf("%s: IPV6_V6ONLY is %d, want %d: %v", flag, only, want, err)
		}
	}
}

func TestAnAddressOfIPv4IsNotServedByIPv6(t *testing.T) {
	if !hasIPv6() {
		t.Skip("this machine has no IPv6")
	}
	for _, flag := range []string{"0.0.0.0:0", "127.0.0.1:0"} {
		set := open(t, nil, flag)
		if err := set.Listen(0); err != nil {
			t.Fatal(err)
		}
		if err := dial(t, &Socket{Address: net.JoinHostPort("::1", port(set.Sockets[0]))}); !isRefused(err) {
			t.Errorf("%s: a connection by IPv6: %v", flag, err)
		}
	}
}

func TestASocketIsBlockingAndClosedAtExec(t *testing.T) {
	fd := inherit(t, "tcp", "127.0.0.1:0")
	set := open(t, []Inherited{{"", fd}}, "a=127.0.0.1:0", "b=unix:"+t.TempDir()+"/s")
	for i, s := range set.Sockets {
		flags, err := unix.FcntlInt(uintptr(s.ends[0].fd), unix.F_GETFL, 0)
		if err != nil || flags&unix.O_NONBLOCK != 0 {
			t.Errorf("%s has the mode %#x: %v", s.Name, flags, err)
		}
		if flags, err = unix.FcntlInt(uintptr(s.ends[0].fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("%s is kept at exec: %#x %v", s.Name, flags, err)
		}
		var st unix.Stat_t
		if err := unix.Fstat(s.ends[0].fd, &st); err != nil || st.Ino != set.Inodes(0)[i] {
			t.Errorf("%s has the inode %d, not %d: %v", s.Name, st.Ino, set.Inodes(0)[i], err)
		}
	}
}

func TestAPortInUseIsKnownAtOnce(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	at := taken.Addr().String()
	refused(t, "cannot listen on "+at+": the port is in use; stop the program that has it (ss -ltnp shows it), or use another port",
		"127.0.0.1:0", at, "unix:"+t.TempDir()+"/s")
}

// Both would bind with SO_REUSEADDR, and the second would fail only after its load.
func TestAPortThatAnotherPreforkdHasBoundIsInUse(t *testing.T) {
	first := open(t, nil, "127.0.0.1:0")
	at := first.Sockets[0].Address
	refused(t, "cannot listen on "+at+": the port is in use; stop the program that has it (ss -ltnp shows it), or use another port", at)
	if err := first.Listen(0); err != nil {
		t.Error(err)
	}
}

func TestAPortTwiceInOneCommandIsTold(t *testing.T) {
	probe := open(t, nil, "127.0.0.1:0")
	at := probe.Sockets[0].Address
	probe.Close()
	refused(t, "cannot listen on "+at+": "+at+" has this port already; give each --listen its own", "a="+at, "b="+at)
}

// The connections that a run has closed linger in TIME_WAIT on the port; the next run must not wait for them.
func TestTheNextRunCanBindAtOnce(t *testing.T) {
	first := open(t, nil, "127.0.0.1:0")
	at := first.Sockets[0].Address
	if err := first.Listen(0); err != nil {
		t.Fatal(err)
	}
	client := connect(t, at)
	defer client.Close()
	server := accept(t, first.FDs(0)[0])
	unix.Close(server) // whoever closes first has the TIME_WAIT
	if _, err := io.Copy(io.Discard, client); err != nil {
		t.Fatal(err)
	}
	client.Close()
	first.Close()
	again := open(t, nil, at)
	if err := again.Listen(0); err != nil {
		t.Error(err)
	}
	if err := dial(t, again.Sockets[0]); err != nil {
		t.Error(err)
	}
}

func TestAnAddressThatIsNotOursIsTold(t *testing.T) {
	refused(t, "cannot listen on 192.0.2.1:8000: this machine has no such address; ip addr shows which it has", "192.0.2.1:8000")
	before := descriptors(t)
	_, err := Open(specs(t, "no-such-host.invalid:80"), nil, Options{})
	if err == nil || !strings.HasPrefix(err.Error(), "cannot listen on no-such-host.invalid:80: lookup no-such-host.invalid") {
		t.Errorf("a host that does not exist: %v", err)
	}
	if after := descriptors(t); len(after) > len(before)+2 { // the resolver's netpoller
		t.Errorf("descriptors before %q, after %q", before, after)
	}
}

func TestALowPortWithoutPrivilegeIsTold(t *testing.T) {
	var err error
	onSpoiltThread(func() {
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, 65534, 65534, 65534); e != 0 && unix.Getuid() == 0 {
			err = e
			return
		}
		var set *Set
		if set, err = Open([]Spec{{Network: "tcp", Address: "127.0.0.1:1"}}, nil, Options{}); err == nil {
			set.Close()
		}
	})
	if err == nil {
		t.Skip("here everybody may bind low ports")
	}
	const want = "cannot listen on 127.0.0.1:1: permission denied; low ports need root or CAP_NET_BIND_SERVICE, use one above 1023"
	if err.Error() != want {
		t.Errorf("the error is %v, want %s", err, want)
	}
}
