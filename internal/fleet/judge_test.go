// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package fleet

import "fmt"

// This file holds the observer's judgement: whether what a step asked for is what was wanted, and nothing was left out. It
// looks at a State only to compare it with what was seen.

// observe takes in one step and returns the first promise that it breaks.
func (o *observer) observe(now Time, ev Event, actions []Action, s State) error {
	if o.finished && len(actions) > 0 {
		return fmt.Errorf("%v after Finish", actions)
	}
	if !o.finished {
		o.told(now, ev)
		o.timePassed(now)
		o.rollShrinks(now)
	}
	for i, a := range actions {
		var err error
		switch a := a.(type) {
		case Spawn:
			err = o.spawn(now, a)
		case Signal:
			err = o.signal(now, ev, a)
		case RollEnded:
			err = o.rollEnded(a)
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

// wants tells whether slot i wants a start, be it now or later.
func (o *observer) wants(i int) bool {
	slot := &o.slots[i]
	stays := func(w *seen) bool { return w.serves() && (o.c.Surge == 0 || o.replacing(w) == ReasonNone) }
	late := func(w *seen) bool { return w.reason == ReasonStartTimeout }
	return o.runs() && i < o.c.Workers && slot.count((*seen).starts) == 0 && slot.count(stays) == 0 && slot.count(late) == 0
}

// place tells whether a start in slot i would exceed nothing.
func (o *observer) place(i int) bool {
	extra := 0
	for j := range o.slots {
		if extra += len(o.slots[j].workers); j < o.c.Workers && len(o.slots[j].workers) > 0 {
			extra--
		}
	}
	workers := o.slots[i].workers
	switch {
	case o.starting() >= o.c.MaxStarting || len(workers) > 1:
		return false
	case len(workers) == 0:
		return true
	case workers[0].stopWanted:
		return extra < o.c.Surge
	}
	switch o.replacing(&workers[0]) {
	case ReasonAge, ReasonRequests, ReasonMemory:
		return extra == 0 && o.c.Surge > 0
	}
	return extra < o.c.Surge
}

func (o *observer) spawn(now Time, a Spawn) error {
	i := a.ID.Slot
	slot := &o.slots[i]
	switch {
	case !o.booted:
		return fmt.Errorf("before Boot")
	case o.stopping:
		return fmt.Errorf("after a stop or give-up")
	case i >= o.c.Workers:
		return fmt.Errorf("into a retired slot")
	case !o.wants(i):
		return fmt.Errorf("into a slot that wants none")
	case a.ID.Incarnation != slot.incarnation+1:
		return fmt.Errorf("incarnation after %d", slot.incarnation)
	case now < slot.notBefore:
		return fmt.Errorf("%v too early", slot.notBefore-now)
	case !o.place(i):
		return fmt.Errorf("there is no place for it")
	case o.rolls(i) && a.Epoch != o.roll.target, !o.rolls(i) && a.Epoch != o.epoch:
		return fmt.Errorf("epoch %d, while %d is served and %d rolled out", a.Epoch, o.epoch, o.roll.target)
	}
	serves := slot.count((*seen).serves) > 0
	for j := range o.slots {
		other := &o.slots[j]
		if j == i || !o.wants(j) || !o.place(j) || other.notAfter > now {
			continue
		}
		switch othersServe := other.count((*seen).serves) > 0; {
		case serves && !othersServe:
			return fmt.Errorf("slot %d has no ready worker at all", j)
		case serves == othersServe && other.notAfter < slot.notBefore:
			return fmt.Errorf("slot %d was due before", j)
		}
	}
	slot.incarnation = a.ID.Incarnation
	slot.workers = append(slot.workers, seen{id: a.ID, epoch: a.Epoch, startBy: now + o.c.StartTimeout})
	slot.paced = min(max(slot.paced, now), now+Time(o.c.RespawnBurst)*o.c.RespawnEvery) + o.c.RespawnEvery
	o.spawns++
	return nil
}

// stopsFirst tells whether a worker may be, and so must be, asked to stop although no other is ready in its place.
func (o *observer) stopsFirst(w *seen) bool {
	if !o.runs() || !w.serves() || o.replacing(w) == ReasonNone {
		return false
	}
	if w.wanted == ReasonWatchdog {
		return o.slots[w.id.Slot].count((*seen).starts) == 0
	}
	for i := range o.c.Workers {
		hopeless := o.rolling() && !o.rolls(i) && o.slots[i].failures > 0
		if o.slots[i].count((*seen).serves) == 0 && !hopeless {
			return false
		}
	}
	return o.c.Surge == 0
}

func (o *observer) signal(now Time, ev Event, a Signal) error {
	w := o.worker(a.ID)
	if w == nil {
		return fmt.Errorf("to a worker that does not live")
	}
	if a.Kind != SignalKill && o.stopsFirst(w) {
		o.want(now, w, o.replacing(w))
	}
	switch {
	case !w.stopWanted:
		return fmt.Errorf("to a worker that nobody wants to stop")
	case w.reason == ReasonNone:
		return fmt.Errorf("without a reason")
	case a.Kind == SignalKill:
		return o.kill(now, ev, w)
	case !w.spawned:
		return fmt.Errorf("before Spawned")
	case w.stopSent:
		return fmt.Errorf("a second time")
	case w.kills > 0:
		return fmt.Errorf("after KILL")
	case (a.Kind == SignalAbort) != (w.reason == ReasonWatchdog):
		return fmt.Errorf("to stop it for %v", w.reason)
	}
	w.stopSent = true
	return nil
}

func (o *observer) kill(now Time, ev Event, w *seen) error {
	if spawned, ok := ev.(Spawned); ok && spawned.ID == w.id && w.kills > 0 && now < w.killAt {
		w.kills++ // an earlier KILL may have found no process; this one moves no deadline
		return nil
	}
	if now < w.killAt {
		return fmt.Errorf("%v too early", w.killAt-now)
	}
	if w.kills == 0 && !w.killWanted && w.reason != ReasonStartTimeout && w.reason != ReasonWatchdog {
		w.reason = ReasonStopTimeout
	}
	w.kills++
	w.killAt = now + o.c.KillEvery
	return nil
}

func (o *observer) rollEnded(a RollEnded) error {
	if o.mustEnd == nil {
		if !o.rollIsDone() {
			return fmt.Errorf("there is no roll that is over")
		}
		o.epoch = o.roll.target
		o.roll, o.mustEnd = seenRoll{}, &RollEnded{Result: Done, Epoch: o.epoch}
	}
	if want := *o.mustEnd; a.Result != want.Result || a.Epoch != want.Epoch || a.Last != want.Last {
		return fmt.Errorf("want %v, epoch %d, last %v", want.Result, want.Epoch, want.Last)
	}
	if (a.Reason == "") != (a.Result == Done) {
		return fmt.Errorf("for the reason %q", a.Reason)
	}
	o.mustEnd, o.lastRoll = nil, a.Result
	return nil
}

func (o *observer) finish(a Finish) error {
	switch {
	case o.finished:
		return fmt.Errorf("a second time")
	case o.live() > 0:
		return fmt.Errorf("while %d live", o.live())
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
	if o.stopping && !o.finished && o.live() == 0 {
		return fmt.Errorf("no Finish although nothing lives")
	}
	if o.mustEnd != nil || o.rollIsDone() {
		return fmt.Errorf("the roll is over and did not end")
	}
	for i := range o.slots {
		slot := &o.slots[i]
		for j := range slot.workers {
			w := &slot.workers[j]
			switch {
			case w.stopWanted && w.spawned && !w.stopSent && w.kills == 0:
				return fmt.Errorf("worker %v was not asked to stop", w.id)
			case w.stopWanted && w.killAt <= now:
				return fmt.Errorf("worker %v got no KILL", w.id)
			case o.stopsFirst(w):
				return fmt.Errorf("worker %v is to be replaced and was not asked to stop", w.id)
			}
		}
		switch {
		case o.wants(i) && o.place(i) && slot.notAfter <= now:
			return fmt.Errorf("slot %d was not started", i)
		case len(slot.workers) > 2 || slot.count((*seen).serves) > 1 || slot.count((*seen).starts) > 1:
			return fmt.Errorf("slot %d has too many workers", i)
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
	done, total := s.Progress()
	seenDone, seenTotal := 0, 0
	for i := range o.slots {
		if o.rolls(i) {
			if seenTotal++; o.slots[i].epoch >= o.roll.target {
				seenDone++
			}
		}
	}
	switch {
	case s.Phase != phase:
		return fmt.Errorf("the fleet says %v, it is %v", s.Phase, phase)
	case s.Next() <= now:
		return fmt.Errorf("Next is %v, now is %v: the loop would spin", s.Next(), now)
	case s.Config != o.c:
		return fmt.Errorf("the rules are %v, want %v", s.Config, o.c)
	case s.Live() != o.live() || s.Count(WorkerReady) != o.ready() || s.starting() != o.starting():
		return fmt.Errorf("the state says %q, seen were %d live, %d ready, %d starting",
			s.Describe(now, 1), o.live(), o.ready(), o.starting())
	case s.Exits != o.exits:
		return fmt.Errorf("exits by reason are %v, seen were %v", s.Exits, o.exits)
	case s.Spawns != o.spawns:
		return fmt.Errorf("%d spawns counted, %d seen", s.Spawns, o.spawns)
	case !o.stopping && s.FailedStarts != o.row || s.FailedStarts > 0 && o.ready() > 0:
		return fmt.Errorf("%d failed starts are charged, %d in a row were seen with %d ready", s.FailedStarts, o.row, o.ready())
	case s.Epoch != o.epoch || s.Epochs != o.epochs:
		return fmt.Errorf("epoch %d of %d, seen were %d of %d", s.Epoch, s.Epochs, o.epoch, o.epochs)
	case s.Roll.Reason != o.roll.reason || done != seenDone || total != seenTotal || s.Roll.Failures != o.roll.failures:
		return fmt.Errorf("a roll for %v, %d of %d, %d failures; seen was %v, %d of %d, %d", s.Roll.Reason, done, total,
			s.Roll.Failures, o.roll.reason, seenDone, seenTotal, o.roll.failures)
	}
	return o.agreeOnWorkers(s)
}

func (o *observer) agreeOnWorkers(s State) error {
	for i := range o.slots {
		slot := &o.slots[i]
		if due := s.Due(i); o.wants(i) != (due != Never) || o.wants(i) && (due < slot.notBefore || due > slot.notAfter) {
			return fmt.Errorf("slot %d is due at %v, want from %v to %v (if at all: %v)",
				i, due, slot.notBefore, slot.notAfter, o.wants(i))
		}
		for j := range slot.workers {
			w := &slot.workers[j]
			got, live := s.Worker(w.id)
			deadline, reason := Never, ReasonNone
			switch {
			case w.stopWanted:
				deadline, reason = w.killAt, w.reason
			case !w.ready:
				deadline = w.startBy
			}
			if !live || got.Deadline != deadline || got.Reason != reason || got.Epoch != w.epoch ||
				w.serves() && s.Replacing(got) != o.replacing(w) {
				return fmt.Errorf("the state says %+v of %+v", got, *w)
			}
		}
	}
	return nil
}
