// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package listen

// Whether we know the kernel's order: connections tell.

import (
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// What may happen to a group, at random: workers shut their sockets down, slots come and go.
func TestTheOrderOfTheKernelIsFollowed(t *testing.T) {
	shake(t, rand.New(rand.NewPCG(1, 2)))
}

func shake(t *testing.T, random *rand.Rand) {
	t.Helper()
	set := openWith(t, slots(6), nil, "127.0.0.1:0")
	listenAll(t, set)
	for round := range 150 {
		var down []int
		switch random.IntN(4) {
		case 0: // one after the other, each seen
			down = random.Perm(set.options.Slots)[:random.IntN(3)]
			for _, slot := range down {
				shutdown(t, set, slot)
				steer(t, set, set.ready...)
			}
		case 1: // several between two looks
			down = random.Perm(set.options.Slots)[:random.IntN(set.options.Slots)]
			for _, slot := range down {
				shutdown(t, set, slot)
			}
		case 2:
			if err := set.Resize(2 + random.IntN(6)); err != nil {
				t.Fatal(err)
			}
			for slot := range set.options.Slots {
				down = append(down, slot)
			}
		}
		// Now and then with some that stay down.
		if round%2 == 0 {
			for _, slot := range down {
				if err := set.Listen(slot); err != nil {
					t.Fatal(err)
				}
			}
			down = nil
		}
		ready := make([]bool, set.options.Slots)
		for slot := range ready {
			ready[slot] = random.IntN(2) == 0 && isListening(t, set, slot)
		}
		steer(t, set, ready...)
		if len(set.Sockets[0].group.order) == 0 {
			continue
		}
		counts := served(t, set, 20)
		for slot, n := range counts {
			if n > 0 && !ready[slot] && slices.Contains(ready, true) && !allDoubtful(set, ready) {
				t.Fatalf("round %d: of slots ready %v the connections went to %d", round, ready, counts)
			}
		}
	}
}

// allDoubtful tells whether no slot that is ready can be told from one that is not.
func allDoubtful(set *Set, ready []bool) bool {
	g := set.Sockets[0].group
	for _, e := range g.order {
		if ready[e.slot] && !slices.Contains(g.doubtful, e) {
			return false
		}
	}
	return true
}

func shutdown(t *testing.T, set *Set, slot int) {
	t.Helper()
	if err := unix.Shutdown(set.FDs(slot)[0], unix.SHUT_RDWR); err != nil && err != unix.ENOTCONN {
		t.Fatal(err)
	}
}

func isListening(t *testing.T, set *Set, slot int) bool {
	t.Helper()
	on, err := unix.GetsockoptInt(set.FDs(slot)[0], unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		t.Fatal(err)
	}
	return on == 1
}
