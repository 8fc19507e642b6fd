// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"fmt"
	"math"
	"slices"
)

// This file holds the observer: it sees what a fleet is told and what it asks for, knows the promises of doc.go, and says
// whether a step keeps them. It looks at a State only to compare it with what it has seen. The explorer and the random
// test share it.

type observer struct {
	c         Config
	slots     []seen
	booted    bool
	everReady bool
	stopping  bool
	finished  bool
	failed    bool
	quits     int
	row       int // failed starts in a row while nobody was ready
	spawns    int64
	exits     [reasons]int64
}

// seen is what the observer knows of one slot and its live worker.
type seen struct {
	live, spawned, early, ready, stopWanted, stopSent, killWanted bool

	incarnation         int
	kills               int
	reason              Reason // of the exit to come, if asked for
	spawnAt             Time   // of the newest incarnation
	startBy             Time   // start deadline
	killAt              Time   // when KILL is due, first or again
	failures            int
	notBefore, notAfter Time // when the next start may and must come
}

func newObserver(s State) observer {
	return observer{c: s.Config, slots: make([]seen, len(s.Slots))}
}

func (o observer) clone() observer {
	o.slots = slices.Clone(o.slots)
	return o
}

// worker returns the live worker's slot if the news can be about it.
func (o *observer) worker(id ID) *seen {
	if id.Slot < 0 || id.Slot >= len(o.slots) {
		return nil
	}
	if w := &o.slots[id.Slot]; w.live && w.incarnation == id.Incarnation {
		return w
	}
	return nil
}

func (o *observer) count(is func(*seen) bool) int {
	n := 0
	for i := range o.slots {
		if o.slots[i].live && is(&o.slots[i]) {
			n++
		}
	}
	return n
}

func (o *observer) ready() int {
	return o.count(func(w *seen) bool { return w.ready && !w.stopWanted })
}

func (o *observer) starting() int {
	return o.count(func(w *seen) bool { return !w.ready && !w.stopWanted })
}

// observe takes in one step and returns the first promise that it breaks.
func (o *observer) observe(now Time, ev Event, actions []Action, s State) error {
	if o.finished && len(actions) > 0 {
		return fmt.Errorf("%v after Finish", actions)
	}
	if !o.finished {
		o.told(now, ev)
		o.timePassed(now)
	}
	for i, a := range actions {
		var err error
		switch a := a.(type) {
		case Spawn:
			err = o.spawn(now, a)
		case Signal:
			err = o.signal(now, ev, a)
		case Finish:
			if i != len(actions)-1 {
				return fmt.Errorf("%v after Finish", actions[i+1:])
			}
			err = o.finish(a)
		}
		if err != nil {
			return fmt.Errorf("%v: %w", a, err)
		}
	}
	if err := o.nothingLeft(now); err != nil {
		return err
	}
	return o.agree(now, s)
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
				o.becameReady(w)
			}
		}
	case Ready:
		if w := o.worker(ev.ID); w != nil && w.spawned {
			o.becameReady(w)
		} else if w != nil && !w.stopWanted {
			w.early = true
		}
	case SpawnFailed:
		if w := o.worker(ev.ID); w != nil && !w.spawned {
			o.died(now, w, ReasonSpawnFailed, ev.Permanent)
		}
	case Exited:
		if w := o.worker(ev.ID); w != nil {
			o.died(now, w, ReasonCrash, false)
		}
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

func (o *observer) becameReady(w *seen) {
	if w.stopWanted || w.ready {
		return
	}
	w.ready, w.failures = true, 0
	o.row, o.everReady = 0, true
}

func (o *observer) died(now Time, w *seen, unasked Reason, permanent bool) {
	reason := unasked
	if w.stopWanted {
		reason = w.reason
	}
	o.exits[reason]++
	wasReady := w.ready
	*w = seen{incarnation: w.incarnation, spawnAt: w.spawnAt, failures: w.failures}
	switch {
	case o.stopping:
	case wasReady:
		w.notBefore = max(now, w.spawnAt+o.c.MinRespawn)
		w.notAfter = w.notBefore
	default:
		w.failures++
		wait := Time(min(float64(o.c.BackoffMin)*math.Pow(2, float64(w.failures-1)), float64(o.c.BackoffMax)))
		w.notBefore, w.notAfter = now+wait, now+wait+wait/10
		if o.ready() > 0 {
			return
		}
		o.row++
		if o.row >= o.c.GiveUpAfter || permanent && reason == ReasonSpawnFailed && !o.everReady {
			o.failed = true
			o.stopAll(now, o.c.StopTimeout)
		}
	}
}

func (o *observer) stopAll(now, timeout Time) {
	o.stopping = true
	for i := range o.slots {
		w := &o.slots[i]
		switch {
		case !w.live || w.kills > 0:
		case w.stopWanted:
			w.killAt = min(w.killAt, now+timeout)
		default:
			w.stopWanted, w.reason, w.killAt = true, ReasonStop, now+timeout
		}
	}
}

func (o *observer) killAll(now Time) {
	o.stopping = true
	for i := range o.slots {
		w := &o.slots[i]
		if !w.live || w.kills > 0 {
			continue
		}
		if !w.stopWanted {
			w.stopWanted, w.reason = true, ReasonStop
		}
		w.killWanted, w.killAt = true, now
	}
}

// timePassed learns what the time alone calls for.
func (o *observer) timePassed(now Time) {
	for i := range o.slots {
		w := &o.slots[i]
		if w.live && !w.ready && !w.stopWanted && w.startBy <= now {
			w.stopWanted, w.reason, w.killAt = true, ReasonStartTimeout, now+o.c.StopTimeout
		}
		if w.live && w.stopWanted && w.killAt <= now && w.reason == ReasonStop && !w.killWanted && w.kills == 0 {
			w.reason = ReasonStopTimeout
		}
	}
}

func (o *observer) spawn(now Time, a Spawn) error {
	w := &o.slots[a.ID.Slot]
	switch {
	case !o.booted:
		return fmt.Errorf("before Boot")
	case o.stopping:
		return fmt.Errorf("after a stop or give-up")
	case w.live:
		return fmt.Errorf("incarnation %d of the slot lives", w.incarnation)
	case a.ID.Incarnation != w.incarnation+1:
		return fmt.Errorf("incarnation after %d", w.incarnation)
	case now < w.notBefore:
		return fmt.Errorf("%v too early", w.notBefore-now)
	case o.starting() >= o.c.MaxStarting:
		return fmt.Errorf("%d are starting already", o.starting())
	}
	for i, other := range o.slots {
		if !other.live && other.notAfter < w.notBefore {
			return fmt.Errorf("slot %d was due before", i)
		}
	}
	*w = seen{live: true, incarnation: a.ID.Incarnation, failures: w.failures, spawnAt: now, startBy: now + o.c.StartTimeout}
	o.spawns++
	return nil
}

func (o *observer) signal(now Time, ev Event, a Signal) error {
	w := o.worker(a.ID)
	switch {
	case w == nil:
		return fmt.Errorf("to a worker that does not live")
	case !w.stopWanted:
		return fmt.Errorf("to a worker that nobody wants to stop")
	case a.Kind == SignalStop && !w.spawned:
		return fmt.Errorf("before Spawned")
	case a.Kind == SignalStop && w.stopSent:
		return fmt.Errorf("a second time")
	case a.Kind == SignalStop && w.kills > 0:
		return fmt.Errorf("after KILL")
	case a.Kind == SignalStop:
		w.stopSent = true
		return nil
	}
	if spawned, ok := ev.(Spawned); ok && spawned.ID == a.ID && w.kills > 0 && now < w.killAt {
		w.kills++ // an earlier KILL may have found no process; this one moves no deadline
		return nil
	}
	if now < w.killAt {
		return fmt.Errorf("%v too early", w.killAt-now)
	}
	w.kills++
	w.killAt = now + o.c.KillEvery
	return nil
}

func (o *observer) finish(a Finish) error {
	live := o.count(func(*seen) bool { return true })
	switch {
	case o.finished:
		return fmt.Errorf("a second time")
	case live > 0:
		return fmt.Errorf("while %d live", live)
	case !o.stopping:
		return fmt.Errorf("without a stop or give-up")
	case (a.Result == Failed) != o.failed:
		return fmt.Errorf("want failed=%v", o.failed)
	case o.failed && (a.Reason == "" || a.Last.Incarnation == 0):
		return fmt.Errorf("without a reason or a last worker")
	}
	o.finished = true
	return nil
}

// nothingLeft returns what should have been done by now and was not.
func (o *observer) nothingLeft(now Time) error {
	if o.stopping && !o.finished && o.count(func(*seen) bool { return true }) == 0 {
		return fmt.Errorf("no Finish although nothing lives")
	}
	for i := range o.slots {
		w := &o.slots[i]
		switch {
		case w.live && w.stopWanted && w.spawned && !w.stopSent && w.kills == 0:
			return fmt.Errorf("worker %d was not asked to stop", i)
		case w.live && w.stopWanted && w.killAt <= now:
			return fmt.Errorf("worker %d got no KILL", i)
		case !w.live && o.booted && !o.stopping && w.notAfter <= now && o.starting() < o.c.MaxStarting:
			return fmt.Errorf("slot %d was not started", i)
		}
	}
	return nil
}

// agree compares the state with what was seen.
func (o *observer) agree(now Time, s State) error {
	phase := Starting
	switch {
	case o.finished:
		phase = Stopped
	case o.stopping:
		phase = Stopping
	case !o.booted:
		phase = Idle
	case o.everReady:
		phase = Running
	}
	live, stopping := o.count(func(*seen) bool { return true }), o.count(func(w *seen) bool { return w.stopWanted })
	switch {
	case s.Phase != phase:
		return fmt.Errorf("the fleet says %v, it is %v", s.Phase, phase)
	case s.Next() <= now:
		return fmt.Errorf("Next is %v, now is %v: the loop would spin", s.Next(), now)
	case s.Live() != live || s.Count(WorkerReady) != o.ready() || s.Count(WorkerStopping) != stopping:
		return fmt.Errorf("the state says %q, seen were %d live, %d ready, %d stopping",
			s.Describe(now, 1), live, o.ready(), stopping)
	case s.Exits != o.exits:
		return fmt.Errorf("exits by reason are %v, seen were %v", s.Exits, o.exits)
	case s.Spawns != o.spawns:
		return fmt.Errorf("%d spawns counted, %d seen", s.Spawns, o.spawns)
	case s.FailedStarts > 0 && o.ready() > 0:
		return fmt.Errorf("%d failed starts are charged while a worker is ready", s.FailedStarts)
	}
	return nil
}
