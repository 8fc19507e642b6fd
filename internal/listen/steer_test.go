// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package listen

// The steering program.

import (
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// choose runs a program with a number in place of the random one.
func choose(t *testing.T, code []unix.SockFilter, number uint32) int {
	t.Helper()
	a := number
	for pc := 1; ; pc++ {
		switch in := code[pc]; in.Code {
		case unix.BPF_ALU | unix.BPF_MOD | unix.BPF_K:
			a %= in.K
		case unix.BPF_ALU | unix.BPF_ADD | unix.BPF_K:
			a += in.K
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(in.K)
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			if a >= in.K {
				pc += int(in.Jt)
			} else {
				pc += int(in.Jf)
			}
		case unix.BPF_RET | unix.BPF_A:
			return int(a)
		default:
			t.Fatalf("the instruction %+v is not known", in)
		}
	}
}

func checkProgram(t *testing.T, indices []int) {
	t.Helper()
	code := program(indices)
	if len(code) > unix.BPF_MAXINSNS {
		t.Fatalf("%d indices make %d instructions", len(indices), len(code))
	}
	for i, want := range indices {
		if have := choose(t, code, uint32(i+3*len(indices))); have != want {
			t.Fatalf("of %d it chooses %d for number %d, want %d", indices, have, i, want)
		}
	}
}

func TestTheProgramChoosesEachIndexAlike(t *testing.T) {
	for set := 1; set < 1<<10; set++ {
		var indices []int
		for i := range 10 {
			if set>>i&1 == 1 {
				indices = append(indices, i)
			}
		}
		checkProgram(t, indices)
	}
	random := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		var indices []int
		for i := range 2000 {
			if random.IntN(2) == 0 {
				indices = append(indices, i)
			}
		}
		checkProgram(t, indices)
	}
	var every2nd []int
	for i := 1; i < 2000; i += 2 {
		every2nd = append(every2nd, i)
	}
	checkProgram(t, every2nd)
}

func TestSteerDoesNothingWhereNothingHasChanged(t *testing.T) {
	set := openWith(t, slots(3), nil, "127.0.0.1:0")
	steer(t, set, true) // before anything listens
	listenAll(t, set)
	detach := func() error {
		return unix.SetsockoptInt(set.FDs(0)[0], unix.SOL_SOCKET, unix.SO_DETACH_REUSEPORT_BPF, 0)
	}
	steer(t, set, true, true, false)
	if err := detach(); err != nil {
		t.Skipf("this kernel cannot tell whether there is a program: %v", err)
	}
	steer(t, set, true, true)
	if err := detach(); err == nil {
		t.Error("the same program was attached again")
	}
	steer(t, set, true, false, true)
	if err := detach(); err != nil {
		t.Errorf("no other program was attached: %v", err)
	}
}

// What is known of the kernel's order after some sockets have gone unseen, and which slots then get connections if 2, 3
// and 4 are ready: doubtful ones only if all of them are.
func TestThePlacesOfSocketsThatAreLeft(t *testing.T) {
	for _, c := range []struct {
		gone, order, doubtful, chosen []int
	}{
		{nil, []int{0, 1, 2, 3, 4, 5}, nil, []int{2, 3, 4}},
		{[]int{5}, []int{0, 1, 2, 3, 4}, nil, []int{2, 3, 4}},
		{[]int{1}, []int{0, 5, 2, 3, 4}, nil, []int{2, 3, 4}},
		{[]int{0, 5}, []int{4, 1, 2, 3}, nil, []int{4, 2, 3}},
		{[]int{4, 5}, []int{0, 1, 2, 3}, nil, []int{2, 3}},
		{[]int{0, 1}, []int{4, 5, 2, 3}, []int{4, 5}, []int{2, 3}},
		{[]int{0, 1, 5}, []int{3, 4, 2}, []int{3, 4}, []int{3, 4, 2}},
		{[]int{0, 2, 3}, []int{4, 1, 5}, []int{4, 5}, []int{4, 1, 5}}, // nobody is known to be ready: all
		{[]int{0, 1, 2, 3, 4, 5}, nil, nil, nil},
	} {
		g := &group{steered: []int{0}}
		for slot := range 6 {
			g.order = append(g.order, &end{slot: slot})
		}
		g.remove(func(e *end) bool { return slices.Contains(c.gone, e.slot) })
		if have := slotsOf(g.order); !slices.Equal(have, c.order) || !slices.Equal(slotsOf(g.doubtful), c.doubtful) {
			t.Errorf("without %d: %d, of which %d doubtful; want %d and %d",
				c.gone, have, slotsOf(g.doubtful), c.order, c.doubtful)
		}
		var chosen []int
		for _, i := range g.choice([]bool{false, false, true, true, true}) {
			chosen = append(chosen, g.order[i].slot)
		}
		if !slices.Equal(chosen, c.chosen) {
			t.Errorf("without %d: %d are chosen, want %d", c.gone, chosen, c.chosen)
		}
	}
}

func TestADoubtfulSocketThatIsAloneIsFound(t *testing.T) {
	g := &group{}
	for slot := range 6 {
		g.order = append(g.order, &end{slot: slot})
	}
	for _, gone := range [][]int{{0, 1}, {4}} {
		g.remove(func(e *end) bool { return slices.Contains(gone, e.slot) })
	}
	// 4 and 5 were at 0 and 1. Whichever place 4 had, the last one, 3, has it now, and it is not known which that is.
	if have, want := slotsOf(g.doubtful), []int{5, 3}; !slices.Equal(have, want) {
		t.Errorf("doubtful are %d, want %d", have, want)
	}
	g.remove(func(e *end) bool { return e.slot != 5 })
	if have := slotsOf(g.order); !slices.Equal(have, []int{5}) || g.doubtful != nil {
		t.Errorf("the order is %d with %d doubtful", have, slotsOf(g.doubtful))
	}
}

func slotsOf(ends []*end) []int {
	var list []int
	for _, e := range ends {
		list = append(list, e.slot)
	}
	return list
}
