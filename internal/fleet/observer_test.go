// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"math"
	"slices"
)

// This file holds the observer's memory: it sees what a fleet is told and, by the promises of doc.go alone, knows what is
// wanted of each worker. What judge_test.go makes of it is whether a step keeps the promises. The explorer, the stories and
// the random test share it.

type observer struct {
	c         Config // the rules in force
	slots     []seenSlot
	booted    bool
	everReady bool
	stopping  bool
	finished  bool
	failed    bool
	quits     int
	row       int // failed starts in a row while nobody was ready
	epoch     int // of starts outside of a roll
	epochs    int
	roll      seenRoll
	mustEnd   *RollEnded // a roll has failed: Result, Epoch and Last of what must be told
	lastRoll  Result     // of the latest roll that ended
	spawns    int64
	exits     [reasons]int64
}

type seenRoll struct {
	reason                    Reason // ReasonNone: there is none
	slots                     []int
	target, workers, failures int
	proven                    bool
	before                    Config
}

// seenSlot is what the observer knows of one slot.
type seenSlot struct {
	workers             []seen // live ones, oldest first
	incarnation         int    // the newest
	failures            int
	epoch               int  // the newest that has been ready
	paced               Time // the latest start, and RespawnEvery for each one before that came early
	notBefore, notAfter Time // when the next start may and must come, if one is wanted
}

// seen is what the observer knows of one live worker.
type seen struct {
	id                                                      ID
	epoch                                                   int
	spawned, early, ready, stopWanted, stopSent, killWanted bool

	kills   int
	wanted  Reason // why it alone is to be replaced
	reason  Reason // of the exit to come, if it is to stop
	startBy Time   // start deadline
	killAt  Time   // when KILL is due, first or again
}

func newObserver(s State) observer {
	return observer{c: s.Config, slots: make([]seenSlot, len(s.Slots)), epoch: 1, epochs: 1}
}

func (o observer) clone() observer {
	o.slots = slices.Clone(o.slots)
	for i := range o.slots {
		o.slots[i].workers = slices.Clone(o.slots[i].workers)
	}
	return o
}

// worker returns the live worker that news is about, or nil.
func (o *observer) worker(id ID) *seen {
	if id.Slot < 0 || id.Slot >= len(o.slots) {
		return nil
	}
	for i := range o.slots[id.Slot].workers {
		if w := &o.slots[id.Slot].workers[i]; w.id == id {
			return w
		}
	}
	return nil
}

func (w *seen) serves() bool { return w.ready && !w.stopWanted }
func (w *seen) starts() bool { return !w.ready && !w.stopWanted }

func (o *observer) count(is func(*seen) bool) int {
	n := 0
	for i := range o.slots {
		n += o.slots[i].count(is)
	}
	return n
}

func (s *seenSlot) count(is func(*seen) bool) int {
	n := 0
	for i := range s.workers {
		if is(&s.workers[i]) {
			n++
		}
	}
	return n
}

func (o *observer) live() int     { return o.count(func(*seen) bool { return true }) }
func (o *observer) ready() int    { return o.count((*seen).serves) }
func (o *observer) starting() int { return o.count((*seen).starts) }
func (o *observer) runs() bool    { return o.booted && !o.stopping }
func (o *observer) rolling() bool { return o.roll.reason != ReasonNone }

func (o *observer) rolls(i int) bool {
	return o.rolling() && i < o.roll.workers && (o.roll.slots == nil || slices.Contains(o.roll.slots, i))
}

// replacing returns why a worker is to be replaced.
func (o *observer) replacing(w *seen) Reason {
	if o.rolls(w.id.Slot) && w.epoch < o.roll.target && w.wanted != ReasonWatchdog {
		return o.roll.reason
	}
	return w.wanted
}

// want notes that a worker is to be asked to stop.
func (o *observer) want(now Time, w *seen, reason Reason) {
	if !w.stopWanted {
		w.stopWanted, w.reason, w.killAt = true, reason, now+o.c.StopTimeout
	}
}

// told learns from an event, if it is true news.
func (o *observer) told(now Time, ev Event) {
	switch ev := ev.(type) {
	case Boot:
		if !o.booted && !o.stopping {
			o.booted = true
			for i := range o.slots {
				o.slots[i].notBefore, o.slots[i].notAfter = now, now
			}
		}
	case Spawned:
		if w := o.worker(ev.ID); w != nil && !w.spawned {
			w.spawned = true
			if w.early {
				o.becameReady(now, w)
			}
		}
	case Ready:
		if w := o.worker(ev.ID); w != nil && w.spawned {
			o.becameReady(now, w)
		} else if w != nil && !w.stopWanted {
			w.early = true
		}
	case SpawnFailed:
		if w := o.worker(ev.ID); w != nil && !w.spawned {
			o.died(now, *w, ReasonSpawnFailed, Exit{}, ev.Permanent)
		}
	case Exited:
		if w := o.worker(ev.ID); w != nil {
			o.died(now, *w, ReasonCrash, ev.Exit, false)
		}
	case Replace:
		if w := o.worker(ev.ID); w != nil && w.serves() && (w.wanted == ReasonNone || ev.Reason == ReasonWatchdog) {
			w.wanted = ev.Reason
		}
	case RollOut:
		o.rollBegins(now, ev)
	case Scale:
		o.scale(now, ev.Workers)
	case Stop:
		o.stopAll(now, o.c.StopTimeout)
	case Quit:
		if o.quits++; o.quits == 1 {
			o.stopAll(now, o.c.QuickTimeout)
		} else {
			o.killAll(now)
		}
	case Kill:
		o.killAll(now)
	}
}

func (o *observer) becameReady(now Time, w *seen) {
	if w.stopWanted || w.ready {
		return
	}
	w.ready = true
	slot := &o.slots[w.id.Slot]
	slot.failures, slot.notBefore, slot.notAfter = 0, now, now
	slot.epoch = max(slot.epoch, w.epoch)
	o.row, o.everReady = 0, true
	if o.rolling() && w.epoch == o.roll.target {
		o.roll.proven, o.roll.failures = true, 0
	}
	for i := range slot.workers {
		if old := &slot.workers[i]; old.id != w.id && old.serves() {
			o.want(now, old, o.replacing(old))
		}
	}
}

func (o *observer) died(now Time, w seen, unasked Reason, exit Exit, permanent bool) {
	slot := &o.slots[w.id.Slot]
	slot.workers = slices.DeleteFunc(slot.workers, func(other seen) bool { return other.id == w.id })
	reason := unasked
	if w.stopWanted {
		reason = w.reason
	}
	o.exits[reason]++
	soonest := slot.paced - Time(o.c.RespawnBurst)*o.c.RespawnEvery
	switch {
	case o.stopping:
	case !w.stopWanted && !w.ready && exit == (Exit{Signal: 9}) && soonest <= now: // killed by somebody else
		slot.notBefore, slot.notAfter = now, now
	case !w.stopWanted && w.ready: // a crash
		slot.notBefore = max(now, soonest)
		slot.notAfter = slot.notBefore
	case w.stopWanted && reason != ReasonStartTimeout: // what the slot waits for beside, it goes on waiting for
		slot.notBefore, slot.notAfter = max(now, slot.notBefore), max(now, slot.notAfter)
	default:
		slot.failures++
		wait := Time(min(float64(o.c.BackoffMin)*math.Pow(2, float64(slot.failures-1)), float64(o.c.BackoffMax)))
		slot.notBefore, slot.notAfter = now+wait, now+wait+wait/10
		o.startFailed(now, w, permanent && reason == ReasonSpawnFailed, reason == ReasonStartTimeout)
	}
}

// startFailed charges a failed start to the fleet and to the roll.
func (o *observer) startFailed(now Time, w seen, permanent, late bool) {
	if o.ready() == 0 {
		if o.row++; o.row >= o.c.GiveUpAfter || permanent && !o.everReady {
			o.failed = true
			o.stopAll(now, o.c.StopTimeout)
			if o.mustEnd != nil {
				o.mustEnd.Last = w.id
			}
			return
		}
	}
	if o.rolling() && w.epoch == o.roll.target {
		if o.roll.failures++; permanent || late || o.roll.failures >= o.c.RollFailures {
			o.rollFails(now, w.id)
		}
	}
}

func (o *observer) stopAll(now, timeout Time) {
	o.stops()
	for i := range o.slots {
		for j := range o.slots[i].workers {
			w := &o.slots[i].workers[j]
			switch {
			case w.kills > 0:
			case w.stopWanted:
				w.killAt = min(w.killAt, now+timeout)
			default:
				w.stopWanted, w.reason, w.killAt = true, ReasonStop, now+timeout
			}
		}
	}
}

func (o *observer) killAll(now Time) {
	o.stops()
	for i := range o.slots {
		for j := range o.slots[i].workers {
			w := &o.slots[i].workers[j]
			if w.kills > 0 {
				continue
			}
			if !w.stopWanted {
				w.stopWanted, w.reason = true, ReasonStop
			}
			w.killWanted, w.killAt = true, now
		}
	}
}

func (o *observer) stops() {
	o.stopping = true
	if o.rolling() {
		o.roll, o.mustEnd = seenRoll{}, &RollEnded{Result: Failed, Epoch: o.epoch}
	}
}

// timePassed learns what the time alone calls for.
func (o *observer) timePassed(now Time) {
	for i := range o.slots {
		for j := range o.slots[i].workers {
			if w := &o.slots[i].workers[j]; w.starts() && w.startBy <= now {
				o.want(now, w, ReasonStartTimeout)
			}
		}
	}
}
