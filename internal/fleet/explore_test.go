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
// ahead, a person may stop, quit or kill, and late, doubled or impossible news may come. The unit of time is 1 ns, which
// also makes the jitter 0 (a tenth of less than 10 ns), so that the space is finite.

// node is one reachable state, what was seen of it, and how it was reached.
type node struct {
	s    State
	o    observer
	now  Time
	from *node

	ev      Event // how it was reached; nil: time passed
	actions []Action
}

const jump Time = 1000 // far beyond every deadline

func (n *node) String() string {
	var steps []string
	for at := n; at != nil; at = at.from {
		steps = append(steps, fmt.Sprintf("%4d %T%v → %v; %s", at.now, at.ev, at.ev, at.actions, at.s.Describe(at.now, 1)))
	}
	slices.Reverse(steps)
	text := ""
	for _, s := range steps {
		text += "\n\t" + s
	}
	return text
}

// step returns the node after ev at time now, or the promise that broke.
func (n *node) step(now Time, ev Event) (*node, error) {
	s, actions := Step(n.s, now, ev)
	next := &node{s: s, o: n.o.clone(), now: now, from: n, ev: ev, actions: actions}
	if err := next.o.observe(now, ev, actions, s); err != nil {
		return nil, fmt.Errorf("%w%v", err, next)
	}
	return next, nil
}

// news returns what may truly happen to the workers of n, and what would be late, doubled or impossible.
func (n *node) news() (news, stale []Event) {
	for i, w := range n.o.slots {
		id := ID{i, w.incarnation}
		is := func(may bool, ev Event) {
			if may {
				news = append(news, ev)
			} else {
				stale = append(stale, ev)
			}
		}
		is(w.live && !w.spawned, Spawned{id, 1})
		is(w.live && !w.spawned, SpawnFailed{ID: id})
		is(w.live && !w.spawned, SpawnFailed{ID: id, Permanent: true})
		is(w.live && !w.ready && !w.early && !w.stopWanted, Ready{id})
		is(w.live, Exited{id, Exit{Code: 1}})
		before := ID{i, w.incarnation - 1}
		stale = append(stale, Spawned{before, 1}, SpawnFailed{ID: before, Permanent: true}, Ready{before}, Exited{ID: before})
	}
	if n.o.booted || n.o.stopping {
		stale = append(stale, Boot{})
	} else {
		news = append(news, Boot{})
	}
	return news, append(stale, Ready{ID{-1, 1}}, Exited{ID: ID{len(n.o.slots), 1}})
}

// explore visits every reachable state and hands each to visit.
func explore(c Config, visit func(*node) error) (states, steps int, err error) {
	s := New(c)
	root := &node{s: s, o: newObserver(s)}
	known := map[string]bool{root.key(): true}
	for todo := []*node{root}; len(todo) > 0; {
		n := todo[0]
		todo = todo[1:]
		before := n.key()
		var found []*node
		news, stale := n.news()
		for _, at := range []Time{n.now, n.now + jump} {
			tick, err := n.step(at, Tick{})
			if err != nil {
				return len(known), steps, err
			}
			found = append(found, tick)
			for _, ev := range slices.Concat(news, []Event{Stop{}, Quit{}, Kill{}}) {
				next, err := n.step(at, ev)
				if err != nil {
					return len(known), steps, err
				}
				found = append(found, next)
			}
		}
		for _, ev := range stale {
			s, actions := Step(n.s, n.now, ev)
			if tick := found[0]; !slices.Equal(actions, tick.actions) || !reflect.DeepEqual(s, tick.s) {
				return len(known), steps, fmt.Errorf("%T%v is not ignored: %v; %s%v", ev, ev, actions, s.Describe(n.now, 1), tick)
			}
		}
		steps += len(stale) + len(found)
		if n.now <= n.s.Next() { // the loop may be one unit late
			found = append(found, &node{s: n.s, o: n.o, now: n.now + 1, from: n})
		}
		if n.key() != before {
			return len(known), steps, fmt.Errorf("Step changed the state it was given: %v", n)
		}
		if err := visit(n); err != nil {
			return len(known), steps, err
		}
		for _, next := range found {
			if k := next.key(); !known[k] {
				known[k] = true
				todo = append(todo, next)
			}
		}
	}
	return len(known), steps, nil
}

// key returns what distinguishes n: everything that can still matter, with times relative to now and those that are past
// alike. Counters that only grow are left out, and a slot's failures count by the wait that the next one brings.
func (n *node) key() string {
	b := make([]byte, 0, 128)
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
	s, o, c := &n.s, &n.o, n.s.Config
	num(int(s.Phase))
	flag(s.Quick, s.Outcome.Result == Failed, o.booted, o.everReady, o.stopping, o.finished, o.failed, o.quits > 0)
	if !o.stopping {
		num(s.FailedStarts)
		num(o.row)
	}
	for i := range s.Slots {
		slot, w := &s.Slots[i], &o.slots[i]
		due(slot.RetryAt)
		for _, w := range slot.Workers {
			num(int(w.Phase))
			num(slot.NextIncarnation - w.ID.Incarnation)
			num(int(w.Reason))
			due(w.Deadline)
			flag(w.PID != 0, w.EarlyReady, w.Killed)
		}
		flag(w.live, w.spawned, w.early, w.ready, w.stopWanted, w.stopSent, w.killWanted, w.kills > 0)
		num(int(w.reason))
		if !o.stopping {
			num(int(c.backoff(slot.Failures + 1)))
			num(int(c.backoff(w.failures + 1)))
		}
		switch {
		case !w.live:
			due(w.notBefore)
			due(w.notAfter)
		case w.stopWanted:
			due(w.killAt)
		case !w.ready:
			due(w.startBy)
		}
		if w.live && !o.stopping {
			due(slot.LastSpawn + c.MinRespawn)
			due(w.spawnAt + c.MinRespawn)
		}
	}
	return string(b)
}
