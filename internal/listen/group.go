// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package listen

// One socket for each slot.
//
// The kernel keeps the listening sockets of one address in an array (struct sock_reuseport), and a steering program
// answers with an index into it. A socket is appended at listen(2); when one is closed or shut down, the last one takes
// its place. Nobody can ask for that order, so it is followed here step by step.
//
// What cannot be prevented: as soon as we listen, another program of the same user may bind the port with SO_REUSEPORT.
// It then gets what the kernel does not steer, and takes the place of a socket that we close. And a worker that calls
// shutdown(2) and then listen(2) again has changed places unseen.

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// group is the sockets of one place that listen, in the kernel's order.
type group struct {
	place *place
	first *end // the one that has the port from the beginning
	order []*end
	// doubtful ones have places among themselves that nobody knows: see remove.
	doubtful []*end
	steered  []int // the indices that the program in force chooses from; nil: there is none
}

// listen binds a socket, which is not done earlier: see place.claim.
func (g *group) listen(e *end) error {
	g.look()
	if slices.Contains(g.order, e) {
		return nil
	}
	for _, fd := range []int{g.first.fd, e.fd} {
		// See Socket.listen about SO_REUSEADDR.
		for _, option := range []int{unix.SO_REUSEADDR, unix.SO_REUSEPORT} {
			if err := allowReuse(fd, option); err != nil {
				return err
			}
		}
	}
	if !e.bound {
		if err := unix.Bind(e.fd, g.place.at); err != nil {
			return err
		}
		e.bound = true
	}
	if err := listen(e.fd); err != nil {
		return err
	}
	g.order = append(g.order, e)
	return nil
}

// look finds the sockets that a worker has shut down.
func (g *group) look() {
	g.remove(func(e *end) bool {
		on, err := unix.GetsockoptInt(e.fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		return err != nil || on == 0
	})
}

// remove follows what the kernel has done when some sockets have left the group, in an order that nobody saw: those in
// front of the new end of the array have kept their places, and the rest fills the gaps. With more than one gap it is
// not known who is where: they are doubtful.
func (g *group) remove(gone func(*end) bool) {
	left := slices.DeleteFunc(slices.Clone(g.order), gone)
	if len(left) == len(g.order) {
		return
	}
	order := make([]*end, len(left))
	for i := range order {
		if e := g.order[i]; slices.Contains(left, e) && !slices.Contains(g.doubtful, e) {
			order[i] = e
		}
	}
	loose := slices.DeleteFunc(left, func(e *end) bool { return slices.Contains(order, e) })
	g.doubtful = nil
	if len(loose) > 1 {
		g.doubtful = slices.Clone(loose)
	}
	for i := range order {
		if order[i] == nil {
			order[i], loose = loose[0], loose[1:]
		}
	}
	g.order = order
	if len(order) == 0 {
		g.steered = nil // the program goes with the last socket
	}
}

// drop takes a socket out of the group for good, whoever else may have it open, and leaves its descriptor open.
func (g *group) drop(e *end, ready []bool) {
	g.look()
	last := len(g.order) - 1
	if last > 0 && g.order[last] != e && slices.Contains(g.order, e) {
		// The last one is about to move: until it is known again no connection must be sent to its index.
		if want := slices.DeleteFunc(g.choice(ready), func(i int) bool { return i == last }); len(want) > 0 {
			_ = g.attach(want) // a refusal is told by the next Steer
		}
	}
	_ = unix.Shutdown(e.fd, unix.SHUT_RDWR) // it may not listen
	g.remove(func(other *end) bool { return other == e })
}

// choice is the indices of the sockets whose slots are ready; without any, all.
func (g *group) choice(ready []bool) []int {
	isReady := func(e *end) bool { return e.slot < len(ready) && ready[e.slot] }
	// The doubtful ones cannot be told apart: their indices are good if all of them are.
	good := !slices.ContainsFunc(g.doubtful, func(e *end) bool { return !isReady(e) })
	var all, some []int
	for i, e := range g.order {
		all = append(all, i)
		if isReady(e) && (good || !slices.Contains(g.doubtful, e)) {
			some = append(some, i)
		}
	}
	if some == nil {
		return all
	}
	return some
}

// steer brings the program in force up to date.
func (g *group) steer(ready []bool) error {
	g.look()
	if len(g.order) == 0 {
		return nil
	}
	return g.attach(g.choice(ready))
}

func (g *group) attach(want []int) error {
	if slices.Equal(want, g.steered) {
		return nil
	}
	if err := attach(g.order[0].fd, program(want)); err != nil {
		// The one before would choose wrong sockets.
		_ = unix.SetsockoptInt(g.order[0].fd, unix.SOL_SOCKET, unix.SO_DETACH_REUSEPORT_BPF, 0) // since Linux 5.3
		g.steered = nil
		return err
	}
	g.steered = want
	return nil
}

// resize makes or drops sockets of a listener with one for each slot.
func (s *Socket) resize(slots int, ready []bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.ends) > slots {
		e := s.ends[len(s.ends)-1]
		s.ends = s.ends[:len(s.ends)-1]
		s.group.drop(e, ready)
		unix.Close(e.fd)
	}
	for len(s.ends) < slots {
		fd, err := s.place.socket()
		if err != nil {
			return fmt.Errorf("cannot listen on %s for %d workers: %v; each needs a descriptor (ulimit -n)",
				s.Address, slots, err)
		}
		e, err := newEnd(len(s.ends), fd)
		if err != nil {
			unix.Close(fd)
			return fmt.Errorf("cannot listen on %s for %d workers: %v", s.Address, slots, err)
		}
		s.ends = append(s.ends, e)
	}
	return nil
}
