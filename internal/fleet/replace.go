// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"fmt"
	"slices"
)

// This file holds how ready workers are replaced by others, one by one or all in a roll, and how slots come and go.

// Replacing returns why a live worker is to be replaced, or ReasonNone.
func (s State) Replacing(w Worker) Reason {
	if w.Wanted != ReasonWatchdog && s.rolls(w.ID.Slot) && w.Epoch < s.Roll.Target {
		return s.Roll.Reason
	}
	return w.Wanted
}

// rolls tells whether slot i takes part in a roll.
func (s State) rolls(i int) bool {
	return s.Roll.Reason != ReasonNone && i < s.Roll.Workers && (s.Roll.Slots == nil || slices.Contains(s.Roll.Slots, i))
}

// recycled tells whether w is to be replaced for having reached a limit: no reason to hurry.
func (s State) recycled(w Worker) bool {
	r := s.Replacing(w)
	return w.Phase == WorkerReady && (r == ReasonAge || r == ReasonRequests || r == ReasonMemory)
}

// Progress returns in how many of a roll's slots a new worker has been ready, and how many slots there are.
func (s State) Progress() (done, total int) {
	for i := range s.Slots {
		if s.rolls(i) {
			total++
			if s.Slots[i].Epoch >= s.Roll.Target {
				done++
			}
		}
	}
	return done, total
}

func (t *step) replace(ev Replace) {
	w := t.find(ev.ID)
	if w == nil || w.Phase != WorkerReady || !t.Active() {
		return
	}
	if w.Wanted == ReasonNone || ev.Reason == ReasonWatchdog {
		w.Wanted = ev.Reason
	}
}

// rollOut begins a roll. What does not serve anyway, since it starts or waits for its start, makes room at once.
func (t *step) rollOut(ev RollOut) {
	if t.Roll.Reason != ReasonNone || !t.Active() {
		return
	}
	t.Epochs++
	t.FailedStarts = 0 // it may be the cure
	before := t.Config
	t.Roll = Roll{
		Reason: ev.Reason, Slots: slices.Clone(ev.Slots), Target: t.Epochs, Workers: t.Config.Workers, Before: before,
	}
	if ev.Config != nil {
		t.Config = ev.Config.sane()
		t.Roll.Workers = t.Config.Workers
		t.Config.Workers = max(t.Config.Workers, before.Workers) // slots go when the new workers have proved themselves
		t.widen(before.Workers)
	}
	for i := range t.Slots {
		if !t.rolls(i) {
			continue
		}
		slot := &t.Slots[i]
		slot.RetryAt, slot.Failures = t.now, 0
		for j := range slot.Workers {
			if w := &slot.Workers[j]; w.Phase == WorkerSpawning || w.Phase == WorkerStarting {
				t.ask(w, ev.Reason, t.Config.StopTimeout)
			}
		}
	}
}

// abandon ends a roll whose new workers do not get ready. The old ones serve on; so do new ones that were ready.
func (t *step) abandon(last ID, how string) {
	roll := t.Roll
	reason := fmt.Sprintf("the new worker %d %s", last.Slot, how)
	if roll.Failures > 1 {
		reason = fmt.Sprintf("%d new workers in a row were not ready; worker %d, the last, %s", roll.Failures, last.Slot, how)
	}
	if done, total := t.Progress(); roll.Proven {
		t.Epoch = roll.Target
		reason = fmt.Sprintf("%d of %d workers were replaced, then %s", done, total, reason)
	} else {
		workers := t.Config.Workers
		t.Config = roll.Before
		if workers > t.Config.Workers {
			t.retire()
		}
	}
	for i := range t.Slots {
		if !t.rolls(i) {
			continue
		}
		slot := &t.Slots[i]
		slot.RetryAt, slot.Failures = t.now, 0
		for j := range slot.Workers {
			w := &slot.Workers[j]
			if w.Epoch == roll.Target && (w.Phase == WorkerSpawning || w.Phase == WorkerStarting) && (!roll.Proven || t.serves(i)) {
				t.ask(w, roll.Reason, t.Config.StopTimeout)
			}
		}
	}
	t.Roll = Roll{}
	t.do(RollEnded{Result: Failed, Epoch: t.Epoch, Reason: reason, Last: last})
}

// rollDone ends a roll when every old worker is gone.
func (t *step) rollDone() {
	if t.Roll.Reason == ReasonNone {
		return
	}
	older := func(w Worker) bool { return w.Epoch < t.Roll.Target }
	for i := range t.Slots {
		if t.rolls(i) && (t.Slots[i].Epoch < t.Roll.Target || slices.ContainsFunc(t.Slots[i].Workers, older)) {
			return
		}
	}
	if t.Config.Workers > t.Roll.Workers {
		t.Config.Workers = t.Roll.Workers
		t.retire()
	}
	for i := t.Config.Workers; i < len(t.Slots); i++ {
		if len(t.Slots[i].Workers) > 0 {
			return
		}
	}
	t.Epoch = t.Roll.Target
	t.Roll = Roll{}
	t.do(RollEnded{Result: Done, Epoch: t.Epoch})
}

// scale sets the number of slots, during a roll also the one that it ends with.
func (t *step) scale(workers int) {
	if t.Phase == Stopping {
		return
	}
	before := t.Config.Workers
	t.Config.Workers = max(workers, 0)
	if t.Roll.Reason != ReasonNone {
		t.Roll.Workers, t.Roll.Before.Workers = t.Config.Workers, t.Config.Workers
	}
	t.widen(before)
	t.retire()
}

// widen makes the slots beyond before, or takes retired ones up again. They are due from now on.
func (t *step) widen(before int) {
	t.grow()
	for i := before; i < t.Config.Workers; i++ {
		t.Slots[i].RetryAt = max(t.Slots[i].RetryAt, t.now)
	}
}

// retire asks the workers of slots that are given up to stop.
func (t *step) retire() {
	for i := t.Config.Workers; i < len(t.Slots); i++ {
		for j := range t.Slots[i].Workers {
			if w := &t.Slots[i].Workers[j]; w.Phase != WorkerStopping {
				t.ask(w, ReasonScale, t.Config.StopTimeout)
			}
		}
	}
}

// stopFirst is how workers are replaced where none may be beyond the slots: one at a time, while all others serve. A roll
// does not wait for slots that it leaves alone and that cannot get a worker ready: it might never end, and with it those
// that come after, one of which may be the cure.
func (t *step) stopFirst() {
	if t.Config.Surge > 0 || !t.Active() {
		return
	}
	for i := range t.Config.Workers {
		hopeless := t.Roll.Reason != ReasonNone && !t.rolls(i) && t.Slots[i].Failures > 0
		if !t.serves(i) && !hopeless {
			return
		}
	}
	for i := range t.Config.Workers {
		for j := range t.Slots[i].Workers {
			w := &t.Slots[i].Workers[j]
			if reason := t.Replacing(*w); w.Phase == WorkerReady && reason != ReasonNone {
				t.ask(w, reason, t.Config.StopTimeout)
				return
			}
		}
	}
}

// abortHung ends workers that show no sign of life, unless another one is about to take their place.
func (t *step) abortHung() {
	for i := range t.Slots {
		starting := slices.ContainsFunc(t.Slots[i].Workers, func(w Worker) bool {
			return w.Phase == WorkerSpawning || w.Phase == WorkerStarting
		})
		for j := range t.Slots[i].Workers {
			if w := &t.Slots[i].Workers[j]; w.Phase == WorkerReady && w.Wanted == ReasonWatchdog && !starting {
				t.ask(w, ReasonWatchdog, t.Config.StopTimeout)
			}
		}
	}
}
