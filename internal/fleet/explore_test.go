// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"fmt"
	"reflect"
	"slices"
)

// This file explores every state that a fleet of one or two slots can reach while the world does its worst: at every
// state each worker may spawn, fail, get ready or end, the clock may move by the smallest unit, be a unit late or jump far
// ahead, a person may stop, quit or kill, roll out, scale, want a worker replaced, and late, doubled or impossible news may
// come. The unit of time is 1 ns, which also makes the jitter 0 (a tenth of less than 10 ns), so that the space is finite.

// node is one reachable state, what was seen of it, and how it was reached.
type node struct {
	s       State
	o       observer
	now     Time
	from    *trail
	actions []Action // of the step that led here
}

// trail is how a node was reached from New. It is small: it is all that is kept of a node that has been explored.
type trail struct {
	from *trail
	c    Config // of the root
	now  Time
	ev   Event // nil: time passed
}

func newNode(c Config) *node {
	s := New(c)
	return &node{s: s, o: newObserver(s), from: &trail{c: c}}
}

func (n *node) String() string {
	var all []*trail
	for at := n.from; at != nil; at = at.from {
		all = append(all, at)
	}
	slices.Reverse(all)
	s, text := New(all[0].c), ""
	for _, at := range all[1:] { // the root comes first
		var actions []Action
		if at.ev != nil {
			s, actions = Step(s, at.now, at.ev)
		}
		text += fmt.Sprintf("\n\t%4d %T%+v → %v; %s", at.now, at.ev, at.ev, actions, s.Describe(at.now, 1))
	}
	return text
}

// step returns the node after ev at time now, or the promise that broke.
func (n *node) step(now Time, ev Event) (*node, error) {
	s, actions := Step(n.s, now, ev)
	next := &node{s: s, o: n.o.clone(), now: now, from: &trail{from: n.from, now: now, ev: ev}, actions: actions}
	if err := next.o.observe(now, ev, actions, s); err != nil {
		return nil, fmt.Errorf("%w%v", err, next)
	}
	return next, nil
}

// later returns n at a later time, nothing having happened.
func (n *node) later(now Time) *node {
	return &node{s: n.s, o: n.o, now: now, from: &trail{from: n.from, now: now}}
}

// news returns what may truly happen to the workers of n, and what would be late, doubled or impossible.
func (n *node) news() (news, stale []Event) {
	is := func(may bool, ev Event) {
		if may {
			news = append(news, ev)
		} else {
			stale = append(stale, ev)
		}
	}
	for i := range n.o.slots {
		slot := &n.o.slots[i]
		for j := range slot.workers {
			w := &slot.workers[j]
			is(!w.spawned, Spawned{w.id, 1})
			is(!w.spawned, SpawnFailed{ID: w.id})
			is(!w.spawned, SpawnFailed{ID: w.id, Permanent: true})
			is(!w.ready && !w.early && !w.stopWanted, Ready{w.id})
			is(true, Exited{w.id, Exit{Code: 1}})
			if w.starts() {
				is(true, Exited{w.id, Exit{Signal: 9}})
				is(true, Exited{w.id, Exit{Signal: 9, OOM: true}})
			}
			if !w.serves() || !n.o.runs() {
				is(false, Replace{w.id, ReasonAge})
				is(false, Replace{w.id, ReasonWatchdog})
			}
		}
		for _, nobody := range []ID{{i, slot.incarnation + 1}, {i, n.o.newestDead(i)}} {
			stale = append(stale, Spawned{nobody, 1}, SpawnFailed{ID: nobody, Permanent: true}, Ready{nobody}, Exited{ID: nobody},
				Replace{nobody, ReasonWatchdog})
		}
	}
	is(!n.o.booted && !n.o.stopping, Boot{})
	if n.o.rolling() || !n.o.runs() {
		is(false, RollOut{Reason: ReasonReload})
	} else {
		is(false, Scale{n.o.c.Workers})
	}
	return news, append(stale, Ready{ID{-1, 1}}, Exited{ID: ID{len(n.o.slots), 1}})
}

// newestDead returns the newest incarnation of slot i that does not live: with a live one on both sides if there is such.
func (o *observer) newestDead(i int) int {
	dead := o.slots[i].incarnation
	for dead > 0 && o.worker(ID{i, dead}) != nil {
		dead--
	}
	return dead
}

// rules are those of one exploration: a fleet's, and what people and limits may do beside Stop.
type rules struct {
	Config
	calls   []Event  // RollOut, Scale, Quit, Kill
	reasons []Reason // of Replace
	jump    bool     // the clock may also jump far ahead, and news come at once then
	lean    bool     // a process exists as soon as it is asked for, and no impossible news come
}

const jump Time = 1000 // far beyond every deadline

// asks returns what people and limits may want at n.
func (r rules) asks(n *node) []Event {
	all := []Event{Tick{}, Stop{}}
	for _, ev := range r.calls {
		if _, is := ev.(RollOut); !is || n.o.runs() && !n.o.rolling() {
			all = append(all, ev)
		}
	}
	for i := range n.o.slots {
		for j := range n.o.slots[i].workers {
			for _, reason := range r.reasons {
				if w := &n.o.slots[i].workers[j]; w.serves() && n.o.runs() {
					all = append(all, Replace{w.id, reason})
				}
			}
		}
	}
	return all
}

// explored says how much there was.
type explored struct{ states, steps, twoLive, twoReady int }

// explore visits every reachable state and hands each to visit.
func explore(r rules, visit func(*node) error) (seen explored, err error) {
	root := newNode(r.Config)
	known := map[string]bool{root.key(): true}
	for todo := []*node{root}; len(todo) > 0; {
		n := todo[0]
		todo[0], todo = nil, todo[1:]
		before := n.key()
		found, err := r.next(n)
		if err != nil {
			return seen, err
		}
		if n.key() != before {
			return seen, fmt.Errorf("Step changed the state it was given: %v", n)
		}
		stale := 0
		if !r.lean {
			if stale, err = ignored(n, found[0]); err != nil {
				return seen, err
			}
		}
		seen.steps += len(found) + stale
		seen.count(n)
		if n.now <= n.s.Next() { // the loop may be one unit late
			found = append(found, n.later(n.now+1))
		}
		if err := visit(n); err != nil {
			return seen, err
		}
		for _, next := range found {
			if k := next.key(); !known[k] {
				known[k] = true
				todo = append(todo, next)
			}
		}
	}
	return seen, nil
}

func (seen *explored) count(n *node) {
	seen.states++
	for i := range n.o.slots {
		if workers := n.o.slots[i].workers; len(workers) > 1 {
			seen.twoLive++
			if workers[0].serves() || workers[1].serves() {
				seen.twoReady++
			}
		}
	}
}

// next returns what may come of n by true news and wishes; the first is what a Tick makes of it.
func (r rules) next(n *node) ([]*node, error) {
	news, _ := n.news()
	times := []Time{n.now}
	if r.jump {
		times = append(times, n.now+jump)
	}
	var found []*node
	for _, at := range times {
		for _, ev := range slices.Concat(r.asks(n), news) {
			next, err := n.step(at, ev)
			for r.lean && err == nil && next.o.unspawned() != (ID{}) {
				next, err = next.step(at, Spawned{next.o.unspawned(), 1})
			}
			if err != nil {
				return nil, err
			}
			found = append(found, next)
		}
	}
	return found, nil
}

// unspawned returns a worker that was asked for and not Spawned, or nobody.
func (o *observer) unspawned() ID {
	for i := range o.slots {
		for _, w := range o.slots[i].workers {
			if !w.spawned {
				return w.id
			}
		}
	}
	return ID{}
}

// ignored checks that news that cannot be true does what a Tick does, and returns how much there was.
func ignored(n, tick *node) (int, error) {
	_, stale := n.news()
	for _, ev := range stale {
		s, actions := Step(n.s, n.now, ev)
		if !slices.Equal(actions, tick.actions) || !reflect.DeepEqual(s, tick.s) {
			return 0, fmt.Errorf("%T%v is not ignored: %v; %s%v", ev, ev, actions, s.Describe(n.now, 1), tick)
		}
	}
	return len(stale), nil
}

// key returns what distinguishes n: everything that can still matter, with times relative to now and those that are past
// alike. Counters that only grow are left out, a slot's failures count by the wait that the next one brings, and epochs by
// whether they are older than the roll's. What the observer knows beyond that it has just compared with the state.
func (n *node) key() string {
	b := make([]byte, 0, 96)
	num := func(v int) { b = append(b, byte(v)) }
	flag := func(vs ...bool) {
		bits := 0
		for i, v := range vs {
			if v {
				bits |= 1 << i
			}
		}
		num(bits)
	}
	due := func(t Time) {
		switch {
		case t == Never:
			num(255)
		case t-n.now > 200:
			panic("a time too far ahead for the key")
		default:
			num(int(max(0, t-n.now)))
		}
	}
	s, c := &n.s, n.s.Config
	num(int(s.Phase))
	num(c.Workers)
	flag(s.Quick, s.Outcome.Result == Failed, s.Roll.Proven, s.Roll.Slots != nil)
	if runs := s.Phase != Stopping && s.Phase != Stopped; runs {
		num(s.FailedStarts)
		num(c.Surge)
		if s.Roll.Reason != ReasonNone {
			num(int(s.Roll.Reason))
			num(s.Roll.Workers)
			num(s.Roll.Failures)
			num(s.Roll.Before.Workers)
			num(s.Roll.Before.Surge)
		}
		for i := range s.Slots {
			slot := &s.Slots[i]
			due(slot.RetryAt)
			due(slot.Paced)
			num(int(c.backoff(slot.Failures + 1)))
			flag(c.Surge == 0 && slot.Failures > 0, s.Roll.Reason != ReasonNone && slot.Epoch < s.Roll.Target)
		}
	}
	for i := range s.Slots {
		slot := &s.Slots[i]
		num(len(slot.Workers))
		for _, w := range slot.Workers {
			num(int(w.Phase))
			num(int(w.Reason))
			num(int(w.Wanted))
			due(w.Deadline)
			seen := n.o.worker(w.ID)
			flag(w.PID != 0, w.EarlyReady, w.Killed, s.Roll.Reason != ReasonNone && w.Epoch < s.Roll.Target,
				seen.stopSent, seen.killWanted, seen.kills > 0)
		}
	}
	return string(b)
}
