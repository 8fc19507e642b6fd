// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package listen

// One socket for each slot: who gets the connections.

import (
	"os/exec"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func slots(n int) Options { return Options{Accept: Reuseport, Slots: n} }

// listenAll does what happens at the start of a fleet.
func listenAll(t *testing.T, set *Set) {
	t.Helper()
	for slot := range set.options.Slots {
		if err := set.Listen(slot); err != nil {
			t.Fatal(err)
		}
	}
}

func steer(t *testing.T, set *Set, ready ...bool) {
	t.Helper()
	if err := set.Steer(ready); err != nil {
		t.Fatal(err)
	}
}

// served makes n connections to the first listener and tells which slot got how many.
func served(t *testing.T, set *Set, n int) []int {
	t.Helper()
	s := set.Sockets[0]
	for range n {
		defer connect(t, s.Address).Close()
	}
	return accepted(t, set, n)
}

// accepted takes n connections out of the queues of the first listener.
func accepted(t *testing.T, set *Set, n int) []int {
	t.Helper()
	counts := make([]int, set.options.Slots)
	for end := time.Now().Add(patience); n > 0; {
		for slot := range counts {
			fd := set.FDs(slot)[0]
			if err := unix.SetNonblock(fd, true); err != nil {
				t.Fatal(err)
			}
			for {
				conn, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
				if err != nil {
					break
				}
				// Reset it: hundreds of connections in TIME_WAIT would use up the ports.
				_ = unix.SetsockoptLinger(conn, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
				unix.Close(conn)
				counts[slot]++
				n--
			}
		}
		if time.Now().After(end) {
			t.Fatalf("%d connections are nowhere: %d", n, counts)
		}
	}
	return counts
}

func TestEachSlotHasASocketAtTheSameAddress(t *testing.T) {
	for _, flag := range []string{"127.0.0.1:0", ":0", "0.0.0.0:0", "[::1]:0"} {
		if flag == "[::1]:0" && !hasIPv6() {
			continue
		}
		set := openWith(t, slots(3), nil, flag, "unix:"+t.TempDir()+"/s")
		if err := dial(t, set.Sockets[0]); !isRefused(err) {
			t.Errorf("%s: a connection before it listens: %v", flag, err)
		}
		listenAll(t, set)
		var first, second []uint64
		for slot := range 3 {
			s, err := describe("", set.FDs(slot)[0])
			if err != nil || s.Address != set.Sockets[0].Address || s.ends[0].inode != set.Inodes(slot)[0] {
				t.Errorf("%s: slot %d is at %v, not at %s: %v", flag, slot, s, set.Sockets[0].Address, err)
			}
			first, second = append(first, set.Inodes(slot)[0]), append(second, set.Inodes(slot)[1])
		}
		if slices.Sort(first); len(slices.Compact(first)) != 3 || len(slices.Compact(second)) != 1 {
			t.Errorf("%s: the sockets are %d; of unix there are %d", flag, first, second)
		}
		// At 1 in 3 for each connection, one of them gets none of 60 once in 10^10.
		counts := served(t, set, 60)
		if slices.Contains(counts, 0) {
			t.Errorf("%s: the slots got %d connections", flag, counts)
		}
	}
}

func TestConnectionsGoToSlotsWithAReadyWorkerOnly(t *testing.T) {
	flags := []string{"127.0.0.1:0"}
	if hasIPv6() {
		flags = append(flags, "[::1]:0", ":0")
	}
	for _, flag := range flags {
		set := openWith(t, slots(4), nil, flag)
		listenAll(t, set)
		for _, ready := range [][]bool{
			{true, false, false, true},
			{false, true, false, false},
			{true, true, true, true},
			{},
			{false, false, true, true},
			{true},
		} {
			steer(t, set, ready...)
			checkServed(t, set, ready, 100)
		}
	}
}

// checkServed makes connections and checks that each slot that is ready gets some and the others none.
func checkServed(t *testing.T, set *Set, ready []bool, n int) {
	t.Helper()
	for slot, count := range served(t, set, n) {
		if want := slot < len(ready) && ready[slot] || !slices.Contains(ready, true); want != (count > 0) {
			t.Fatalf("slot %d got %d connections, and the ready ones are %v", slot, count, ready)
		}
	}
}

// Listen and Resize change the kernel's order.
func TestListenAndResizeKeepConnectionsAwayFromTheSameSlots(t *testing.T) {
	set := openWith(t, slots(3), nil, "127.0.0.1:0")
	listenAll(t, set)
	ready := []bool{false, true, true}
	steer(t, set, ready...)
	shutdown(t, set, 0)
	if err := set.Listen(0); err != nil {
		t.Fatal(err)
	}
	checkServed(t, set, ready, 40)
	if err := set.Resize(2); err != nil {
		t.Fatal(err)
	}
	checkServed(t, set, ready[:2], 20)
	if err := set.Resize(4); err != nil {
		t.Fatal(err)
	}
	listenAll(t, set)
	checkServed(t, set, ready[:2], 20)
}

func TestThreeHundredSlots(t *testing.T) {
	set := openWith(t, slots(300), nil, "127.0.0.1:0")
	listenAll(t, set)
	ready := make([]bool, 300)
	for slot := range ready {
		ready[slot] = slot%2 == 1
	}
	steer(t, set, ready...)
	for slot, n := range served(t, set, 600) {
		if n > 0 && !ready[slot] {
			t.Errorf("slot %d got %d connections", slot, n)
		}
	}
}

func TestListenBringsBackASocketThatAWorkerHasShutDown(t *testing.T) {
	for _, o := range []Options{{}, slots(2)} {
		// The kernel chose the port, and nobody asked for it by number.
		set := openWith(t, o, nil, "127.0.0.1:0", ":0")
		listenAll(t, set)
		for range 2 {
			for slot := range set.options.Slots {
				for _, fd := range set.FDs(slot) {
					if err := unix.Shutdown(fd, unix.SHUT_RDWR); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := dial(t, set.Sockets[0]); !isRefused(err) {
				t.Errorf("%s: sockets that were shut down: %v", o.Accept, err)
			}
			listenAll(t, set)
			steer(t, set, true, false) // the program has gone with the group
			for _, s := range set.Sockets {
				if err := dial(t, s); err != nil {
					t.Errorf("%s: %v", o.Accept, err)
				}
			}
			if counts := served(t, set, 20); len(counts) == 2 && counts[1] > 0 {
				t.Errorf("the slots got %d connections", counts)
			}
		}
	}
}

func TestAConnectionThatWaitsIsServedByTheNextWorkerOfItsSlot(t *testing.T) {
	set := openWith(t, slots(2), nil, "127.0.0.1:0")
	listenAll(t, set)
	steer(t, set, false, true)
	worker := exec.Command("sleep", "600")
	dup, err := unix.Dup(set.FDs(1)[0])
	if err != nil {
		t.Fatal(err)
	}
	worker.ExtraFiles = append(worker.ExtraFiles, file(dup))
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	worker.ExtraFiles[0].Close()
	client := connect(t, set.Sockets[0].Address)
	defer client.Close()
	_ = worker.Process.Kill()
	_ = worker.Wait()
	steer(t, set)
	if err := set.Listen(1); err != nil {
		t.Fatal(err)
	}
	set.Blocking(1, false, true)
	conn := accept(t, set.FDs(1)[0])
	defer unix.Close(conn)
	if _, err := unix.Write(conn, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 5)
	if _, err := client.Read(answer); err != nil || string(answer) != "hello" {
		t.Errorf("the answer is %q: %v", answer, err)
	}
}

func TestResizeMakesAndDropsSockets(t *testing.T) {
	set := openWith(t, slots(2), nil, "127.0.0.1:0", "localhost:0", "unix:"+t.TempDir()+"/s")
	listenAll(t, set)
	steer(t, set, true, true)
	before := descriptors(t)
	dropped := 0
	for _, n := range []int{5, 1, 4, 3, 2} {
		if n < set.options.Slots {
			// A process that outlived its worker may still have the socket.
			dup, err := unix.Dup(set.FDs(n)[0])
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(dup)
			dropped++
		}
		if err := set.Resize(n); err != nil {
			t.Fatal(err)
		}
		listenAll(t, set)
		ready := slices.Repeat([]bool{true}, n)
		steer(t, set, ready...)
		checkServed(t, set, ready, 30*n)
	}
	if after := descriptors(t); len(after) != len(before)+dropped {
		t.Errorf("descriptors before %q, after %q", before, after)
	}
	if err := set.Listen(2); err == nil || err.Error() != "cannot listen for slot 2: there are 2; resize first" {
		t.Errorf("Listen: %v", err)
	}
}

func TestAResizeThatFailsChangesNothing(t *testing.T) {
	set := openWith(t, slots(2), nil, "127.0.0.1:0", "127.0.0.1:0")
	listenAll(t, set)
	before := descriptors(t)
	var was unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &was); err != nil {
		t.Fatal(err)
	}
	limit := unix.Rlimit{Cur: uint64(len(before) + 20), Max: was.Max}
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, &limit, nil); err != nil {
		t.Fatal(err)
	}
	err := set.Resize(200)
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, &was, nil); err != nil {
		t.Fatal(err)
	}
	want := "cannot listen on " + set.Sockets[0].Address + " for 200 workers: too many open files; " +
		"each needs a descriptor (ulimit -n)"
	if err == nil || err.Error() != want {
		t.Errorf("the error is %v, want %s", err, want)
	}
	if after := descriptors(t); !slices.Equal(before, after) {
		t.Errorf("descriptors before %q, after %q", before, after)
	}
	steer(t, set, true, false)
	checkServed(t, set, []bool{true, false}, 10)
}

func TestTheQueueIsThatOfAllSlots(t *testing.T) {
	set := openWith(t, slots(3), nil, "127.0.0.1:0")
	listenAll(t, set)
	for slot := range 3 {
		ready := make([]bool, 3)
		ready[slot] = true
		steer(t, set, ready...)
		for range 2 {
			if err := dial(t, set.Sockets[0]); err != nil {
				t.Fatal(err)
			}
		}
	}
	n, ok := set.Sockets[0].Queue()
	for end := time.Now().Add(patience); n != 6 && time.Now().Before(end); n, ok = set.Sockets[0].Queue() {
	}
	if n != 6 || !ok {
		t.Errorf("the queue is %d %v, want 6", n, ok)
	}
	s := set.Sockets[0]
	set.Close()
	open(t, nil, "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0") // these get the numbers of the closed ones
	if n, ok := s.Queue(); ok {
		t.Errorf("the queue of what is closed is %d", n)
	}
}

func TestBlockingChangesOnlyTheSocketsThatAreNamed(t *testing.T) {
	set := openWith(t, slots(2), nil, "127.0.0.1:0", "unix:"+t.TempDir()+"/s")
	for _, c := range []struct {
		shared, own bool
		want        [4]bool // slot 0's, slot 1's, the shared one as both have it
	}{
		{false, false, [4]bool{true, true, true, true}},
		{true, false, [4]bool{true, true, false, false}},
		{false, true, [4]bool{true, false, true, true}},
		{true, true, [4]bool{true, false, false, false}},
	} {
		fds := [4]int{set.FDs(0)[0], set.FDs(1)[0], set.FDs(0)[1], set.FDs(1)[1]}
		for _, fd := range fds {
			if err := unix.SetNonblock(fd, true); err != nil {
				t.Fatal(err)
			}
		}
		set.Blocking(1, c.shared, c.own)
		var have [4]bool
		for i, fd := range fds {
			flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
			if err != nil {
				t.Fatal(err)
			}
			have[i] = flags&unix.O_NONBLOCK != 0
		}
		if have != c.want {
			t.Errorf("shared %v, own %v: non-blocking are %v, want %v", c.shared, c.own, have, c.want)
		}
	}
}
