// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package fleet

import "fmt"

// This file asks what becomes of a fleet if the world behaves in one way from a state on: that it always ends when it
// should, gives up when it should, recovers, ends its rolls and gets rid of workers that hang.

// world says what happens at once to a live worker, nil for nothing; kills counts the KILLs since the future began.
type world func(from *node, w *seen, kills int) Event

func exit(id ID) Event { return Exited{ID: id, Exit: Exit{Code: 1}} }

// stubborn workers start, are never ready, ignore the stop signal and survive the first KILL (a process in D state).
func stubborn(_ *node, w *seen, kills int) Event {
	switch {
	case kills > 1:
		return exit(w.id)
	case !w.spawned && w.early: // so that it is not ready
		return SpawnFailed{ID: w.id}
	case !w.spawned:
		return Spawned{w.id, 1}
	}
	return nil
}

// unborn processes never get as far as exec, and survive the first KILL.
func unborn(_ *node, w *seen, kills int) Event {
	switch {
	case kills > 1 && w.spawned:
		return exit(w.id)
	case kills > 1:
		return SpawnFailed{ID: w.id}
	}
	return nil
}

func polite(_ *node, w *seen, _ int) Event {
	switch {
	case w.stopSent || w.kills > 0:
		return exit(w.id)
	case !w.spawned:
		return Spawned{w.id, 1}
	}
	return nil
}

func good(from *node, w *seen, kills int) Event {
	if w.spawned && !w.ready && !w.stopWanted {
		return Ready{w.id}
	}
	return polite(from, w, kills)
}

func cannotSpawn(_ *node, w *seen, _ int) Event {
	if !w.spawned {
		return SpawnFailed{ID: w.id}
	}
	return exit(w.id)
}

func diesAtOnce(_ *node, w *seen, _ int) Event {
	if !w.spawned && !w.early {
		return Spawned{w.id, 1}
	}
	return exit(w.id)
}

// neverReady are stubborn workers in place of those that were ready and die now.
func neverReady(from *node, w *seen, kills int) Event {
	if w.ready {
		return exit(w.id)
	}
	return stubborn(from, w, kills)
}

// broken is a roll whose new workers are bad while the old ones are good.
func broken(bad world) world {
	return func(from *node, w *seen, kills int) Event {
		if w.epoch == from.o.roll.target && !w.ready {
			return bad(from, w, kills)
		}
		return good(from, w, kills)
	}
}

// brokenElsewhere is a roll whose new workers are good, while no other slot ever gets a worker ready.
func brokenElsewhere(from *node, w *seen, kills int) Event {
	if !from.o.rolls(w.id.Slot) && !w.ready {
		return diesAtOnce(from, w, kills)
	}
	return good(from, w, kills)
}

// hangs is a world in which one worker survives all but a second KILL.
func hangs(others world) world {
	return func(from *node, w *seen, kills int) Event {
		switch {
		case w.id != victim(from):
			return others(from, w, kills)
		case kills > 1:
			return exit(w.id)
		}
		return nil
	}
}

// victim is the worker that hangs: one that is known to, else any that serves.
func victim(n *node) ID {
	var id ID
	for i := range n.o.slots {
		for _, w := range n.o.slots[i].workers {
			if w.serves() && w.wanted == ReasonWatchdog {
				return w.id
			} else if w.serves() {
				id = w.id
			}
		}
	}
	return id
}

// future is one way in which things may go on, and what must come of it within a time.
type future struct {
	name    string
	first   func(from *node) Event
	world   world
	applies func(from *node) bool
	within  Time
	goal    func(from, at *node) bool
}

func futures(c Config, slots int) []future {
	over := func(_, at *node) bool { return at.o.finished }
	gaveUp := func(_, at *node) bool { return at.o.finished && at.o.failed }
	notOver := func(n *node) bool { return !n.o.finished }
	runs := func(n *node) bool { return n.o.runs() && n.o.c.Workers > 0 }
	late := func(w *seen) bool { return w.reason == ReasonStartTimeout || w.starts() }
	hopeful := func(n *node) bool { // starts that run out of time will still be charged
		lost := n.o.count(func(w *seen) bool { return w.stopWanted || late(w) && w.startBy <= n.now })
		return runs(n) && n.o.row+lost < c.GiveUpAfter
	}
	rolls := func(n *node) bool { ready, _ := n.o.rollLacks(); return n.o.runs() && ready }
	rollHopeful := func(n *node) bool {
		lost := n.o.count(func(w *seen) bool { return late(w) && w.epoch == n.o.roll.target && w.startBy <= n.now })
		return rolls(n) && hopeful(n) && lost == 0
	}
	rollServes := func(n *node) bool { return rollHopeful(n) && n.o.ready() > 0 }
	settled := func(_, at *node) bool {
		toGo := at.o.count(func(w *seen) bool { return w.stopWanted || at.o.replacing(w) != ReasonNone })
		return !at.o.rolling() && toGo == 0 && at.o.ready() == at.o.c.Workers && at.o.live() == at.o.c.Workers
	}
	rolled := func(_, at *node) bool { return !at.o.rolling() && at.o.lastRoll == Done && !at.o.stopping }
	hung := func(n *node) bool { return n.o.runs() && victim(n) != ID{} }
	gone := func(from, at *node) bool { return at.o.worker(victim(from)) == nil }

	first := func(ev Event) func(*node) Event { return func(*node) Event { return ev } }
	noSignOfLife := func(n *node) Event { return Replace{victim(n), ReasonWatchdog} }

	kill := 2 * c.KillEvery // until the second KILL, if the first was sent already
	stop := c.KillEvery + max(c.StopTimeout, c.KillEvery)
	quit := c.KillEvery + max(c.QuickTimeout, c.KillEvery)
	wait := c.BackoffMax + c.BackoffMax/10 + c.RespawnEvery
	start := c.StartTimeout + c.StopTimeout + kill + wait // worst, with the wait for the next
	fail := Time(c.GiveUpAfter+c.RollFailures+2)*start + stop
	all := Time(slots+2) * start // each slot for itself, at worst
	roll := Time(c.RollFailures+slots+2) * start

	return []future{
		{"Stop, stubborn workers", first(Stop{}), stubborn, notOver, stop, over},
		{"Stop, hung spawns", first(Stop{}), unborn, notOver, stop, over},
		{"Stop, polite workers", first(Stop{}), polite, notOver, 0, over},
		{"Quit, stubborn workers", first(Quit{}), stubborn, notOver, quit, over},
		{"Kill, hung spawns", first(Kill{}), unborn, notOver, kill, over},
		{"nothing can be spawned", first(Tick{}), cannotSpawn, runs, fail, gaveUp},
		{"all die at once", first(Tick{}), diesAtOnce, runs, fail, gaveUp},
		{"none gets ready", first(Tick{}), neverReady, runs, fail, gaveUp},
		{"all is well again", first(Tick{}), good, hopeful, all, settled},
		{"the new release is good", first(Tick{}), good, rollHopeful, all, rolled},
		{"the new release is good, other slots are broken", first(Tick{}), brokenElsewhere, rollServes, all, rolled},
		{"the new release cannot be spawned", first(Tick{}), broken(cannotSpawn), rolls, roll, abandoned},
		{"the new release dies at once", first(Tick{}), broken(diesAtOnce), rolls, roll, abandoned},
		{"the new release is never ready", first(Tick{}), broken(stubborn), rolls, roll, abandoned},
		{"a worker hangs, others are good", noSignOfLife, hangs(good), hung, all + stop, gone},
		{"a worker hangs, no other gets ready", noSignOfLife, hangs(stubborn), hung, start + stop, gone},
		{"Scale to one more", first(Scale{c.Workers + 1}), good, hopeful, all, settled},
		{"Scale to one", first(Scale{1}), good, hopeful, all, settled},
	}
}

// abandoned tells whether a roll has ended and the ready old workers are still there: all of them, or all but the one that
// was asked first where none may be beyond the slots. Slots that came with the new rules go with them. A roll that had
// proved itself may also be done.
func abandoned(from, at *node) bool {
	lost := 0
	for i := range min(from.o.roll.before.Workers, len(from.o.slots)) {
		for _, w := range from.o.slots[i].workers {
			if now := at.o.worker(w.id); w.serves() && w.wanted == ReasonNone && (now == nil || !now.serves()) {
				lost++
			}
		}
	}
	switch {
	case at.o.rolling():
		return false
	case from.o.roll.proven:
		return true
	case from.o.c.Surge == 0:
		return at.o.lastRoll == Failed && lost <= 1
	}
	return at.o.lastRoll == Failed && lost == 0
}

// runFutures runs those that apply and returns how many.
func runFutures(n *node) (runs int, err error) {
	for _, f := range futures(n.o.c, len(n.o.slots)) {
		if !f.applies(n) {
			continue
		}
		runs++
		if err := f.run(n); err != nil {
			return runs, err
		}
	}
	return runs, nil
}

func (f future) run(from *node) error {
	n, err := from.step(from.now, f.first(from))
	for err == nil {
		if f.goal(from, n) {
			return nil
		}
		now, ev := n.now, f.happens(from, n)
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

func (f future) happens(from, n *node) Event {
	for i := range n.o.slots {
		for j := range n.o.slots[i].workers {
			w := &n.o.slots[i].workers[j]
			kills := w.kills
			if then := from.o.worker(w.id); then != nil {
				kills -= then.kills
			}
			if ev := f.world(from, w, kills); ev != nil {
				return ev
			}
		}
	}
	return nil
}
