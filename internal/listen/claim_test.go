// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package listen

// Whose port it is.

import (
	"testing"

	"golang.org/x/sys/unix"
)

const inUse = ": the port is in use; stop the program that has it (ss -ltnp shows it), or use another port"

// stranger is another program of the same user that binds a port of 127.0.0.1, 0 for any, with some options.
func stranger(t *testing.T, port int, options ...int) (int, error) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	for _, option := range options {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, 1); err != nil {
			t.Fatal(err)
		}
	}
	return fd, unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
}

func TestAPortOfAnotherProgramIsInUseWhateverItsOptions(t *testing.T) {
	for _, o := range []Options{{}, slots(2)} {
		for _, c := range []struct {
			options []int
			listens bool
		}{
			{nil, false},
			{nil, true},
			{[]int{unix.SO_REUSEPORT}, false},
			{[]int{unix.SO_REUSEPORT}, true},
			{[]int{unix.SO_REUSEADDR, unix.SO_REUSEPORT}, true},
		} {
			fd, err := stranger(t, 0, c.options...)
			if err == nil && c.listens {
				err = unix.Listen(fd, 1)
			}
			if err != nil {
				t.Fatal(err)
			}
			at := address(t, fd)
			set, err := Open(specs(t, at), nil, o)
			if err == nil {
				set.Close()
			}
			if err == nil || err.Error() != "cannot listen on "+at+inUse {
				t.Errorf("%s: a port that another has with the options %d, listening %v: %v", o.Accept, c.options, c.listens, err)
			}
		}
	}
}

func TestNobodyCanJoinUsDuringTheLoad(t *testing.T) {
	for _, o := range []Options{{}, slots(2)} {
		set := openWith(t, o, nil, "127.0.0.1:0")
		for _, options := range [][]int{
			nil, {unix.SO_REUSEADDR}, {unix.SO_REUSEPORT}, {unix.SO_REUSEADDR, unix.SO_REUSEPORT},
		} {
			if _, err := stranger(t, set.Sockets[0].Port, options...); err != unix.EADDRINUSE { //nolint:errorlint // a raw call
				t.Errorf("%s: another program binds our port with the options %d: %v", o.Accept, options, err)
			}
		}
		listenAll(t, set)
	}
}

// Slots may start in any order, and the first one has the port.
func TestAnySlotMayListenFirst(t *testing.T) {
	set := openWith(t, slots(3), nil, "127.0.0.1:0")
	for _, slot := range []int{2, 0, 1} {
		if err := set.Listen(slot); err != nil {
			t.Fatal(err)
		}
		ready := make([]bool, 3)
		ready[slot] = true
		steer(t, set, ready...)
		checkServed(t, set, ready, 20)
	}
}

func TestTheNextRunCanBindAtOnceWithASocketForEachSlotToo(t *testing.T) {
	first := openWith(t, slots(2), nil, "127.0.0.1:0")
	listenAll(t, first)
	steer(t, first, false, true)
	at := first.Sockets[0].Address
	client := connect(t, at)
	server := accept(t, first.FDs(1)[0])
	unix.Close(server) // whoever closes first has the TIME_WAIT
	_, _ = client.Read(make([]byte, 1))
	client.Close()
	first.Close()
	for _, o := range []Options{slots(3), {}} {
		again := openWith(t, o, nil, at)
		listenAll(t, again)
		if err := dial(t, again.Sockets[0]); err != nil {
			t.Error(err)
		}
		again.Close()
	}
}
