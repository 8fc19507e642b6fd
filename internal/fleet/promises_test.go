// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"fmt"
	"testing"
)

// This file runs the explorer with its observer, and asks at every reachable state what becomes of the fleet if the world
// behaves in one way from there on: that it always ends when it should, gives up when it should, and recovers.

func TestEveryReachableStateKeepsThePromises(t *testing.T) {
	rich := Config{
		StartTimeout: 5, StopTimeout: 4, QuickTimeout: 2, KillEvery: 3,
		BackoffMin: 2, BackoffMax: 7, MinRespawn: 6, GiveUpAfter: 4,
	}
	small := Config{
		StartTimeout: 2, StopTimeout: 2, QuickTimeout: 1, KillEvery: 1,
		BackoffMin: 1, BackoffMax: 2, MinRespawn: 2, GiveUpAfter: 2,
	}
	for _, c := range []struct {
		Config
		slots, atOnce int
	}{{rich, 1, 1}, {small, 2, 1}, {small, 2, 2}} {
		c.Workers, c.MaxStarting = c.slots, c.atOnce
		t.Run(fmt.Sprintf("%d slots, %d at once", c.slots, c.atOnce), func(t *testing.T) {
			if raceEnabled && c.slots > c.atOnce {
				t.Skip("left to the run without the race detector")
			}
			runs := 0
			states, steps, err := explore(c.Config, func(n *node) error {
				if raceEnabled && c.slots > 1 {
					return nil
				}
				for _, f := range futures(c.Config) {
					if !f.applies(n) {
						continue
					}
					runs++
					if err := f.run(n); err != nil {
						return err
					}
				}
				return nil
			})
			t.Logf("%d states, %d steps, %d futures", states, steps, runs)
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// world says what happens at once to a live worker, nil for nothing; kills counts the KILLs since the future began.
type world func(id ID, w *seen, kills int) Event

func exit(id ID) Event { return Exited{ID: id, Exit: Exit{Code: 1}} }

// stubborn workers start, are never ready, ignore the stop signal and survive the first KILL (a process in D state).
func stubborn(id ID, w *seen, kills int) Event {
	switch {
	case kills > 1:
		return exit(id)
	case !w.spawned:
		return Spawned{id, 1}
	}
	return nil
}

// hung processes never get as far as exec, and survive the first KILL.
func hung(id ID, w *seen, kills int) Event {
	switch {
	case kills > 1 && w.spawned:
		return exit(id)
	case kills > 1:
		return SpawnFailed{ID: id}
	}
	return nil
}

func polite(id ID, w *seen, _ int) Event {
	switch {
	case w.stopSent || w.kills > 0:
		return exit(id)
	case !w.spawned:
		return Spawned{id, 1}
	}
	return nil
}

func good(id ID, w *seen, kills int) Event {
	if w.spawned && !w.ready && !w.stopWanted {
		return Ready{id}
	}
	return polite(id, w, kills)
}

func cannotSpawn(id ID, w *seen, _ int) Event {
	if !w.spawned {
		return SpawnFailed{ID: id}
	}
	return exit(id)
}

func diesAtOnce(id ID, w *seen, _ int) Event {
	if !w.spawned {
		return Spawned{id, 1}
	}
	return exit(id)
}

// neverReady are stubborn workers in place of those that were ready and die now.
func neverReady(id ID, w *seen, kills int) Event {
	if w.ready {
		return exit(id)
	}
	return stubborn(id, w, kills)
}

// future is one way in which things may go on, and what must come of it within a time.
type future struct {
	name    string
	first   Event
	world   world
	applies func(*node) bool
	within  Time
	goal    func(*observer) bool
}

func futures(c Config) []future {
	over := func(o *observer) bool { return o.finished }
	gaveUp := func(o *observer) bool { return o.finished && o.failed }
	allReady := func(o *observer) bool { return o.ready() == len(o.slots) }
	notOver := func(n *node) bool { return !n.o.finished }
	runs := func(n *node) bool { return n.o.booted && !n.o.stopping }
	hopeful := func(n *node) bool { // starts that have run out of time will still be charged
		lost := n.o.count(func(w *seen) bool { return w.stopWanted || !w.ready && w.startBy <= n.now })
		return runs(n) && n.o.row+lost < c.GiveUpAfter
	}

	kill := 2 * c.KillEvery // until the second KILL, if the first was sent already
	stop := c.KillEvery + max(c.StopTimeout, c.KillEvery)
	quit := c.KillEvery + max(c.QuickTimeout, c.KillEvery)
	start := c.StartTimeout + c.StopTimeout + kill + c.BackoffMax + c.BackoffMax/10 + c.MinRespawn // worst, with the wait for the next
	fail := Time(c.GiveUpAfter+1)*start + stop

	return []future{
		{"Stop, stubborn workers", Stop{}, stubborn, notOver, stop, over},
		{"Stop, hung spawns", Stop{}, hung, notOver, stop, over},
		{"Stop, polite workers", Stop{}, polite, notOver, 0, over},
		{"Quit, stubborn workers", Quit{}, stubborn, notOver, quit, over},
		{"Kill, hung spawns", Kill{}, hung, notOver, kill, over},
		{"nothing can be spawned", Tick{}, cannotSpawn, runs, fail, gaveUp},
		{"all die at once", Tick{}, diesAtOnce, runs, fail, gaveUp},
		{"none gets ready", Tick{}, neverReady, runs, fail, gaveUp},
		{"all is well again", Tick{}, good, hopeful, start, allReady},
	}
}

func (f future) run(from *node) error {
	base := from.o.slots
	n, err := from.step(from.now, f.first)
	for err == nil {
		if f.goal(&n.o) {
			return nil
		}
		now, ev := n.now, f.happens(n, base)
		if ev == nil {
			now, ev = n.s.Next(), Tick{}
		}
		if now > from.now+f.within {
			return fmt.Errorf("%s: not there after %v%v", f.name, f.within, n)
		}
		n, err = n.step(now, ev)
	}
	return fmt.Errorf("%s: %w", f.name, err)
}

func (f future) happens(n *node, base []seen) Event {
	for i := range n.o.slots {
		w := &n.o.slots[i]
		if !w.live {
			continue
		}
		kills := w.kills
		if w.incarnation == base[i].incarnation {
			kills -= base[i].kills
		}
		if ev := f.world(ID{i, w.incarnation}, w, kills); ev != nil {
			return ev
		}
	}
	return nil
}
