// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"fmt"
	"slices"
)

// This file holds the reducer: one method per event, then what time itself brings about.

// Step returns the state after ev at time now, and what is to be done. It does not change s, and what it returns shares
// no memory with it.
func Step(s State, now Time, ev Event) (State, []Action) {
	t := step{State: s.clone(), now: now}
	if s.Phase == Stopped {
		return t.State, nil
	}
	switch ev := ev.(type) {
	case Boot:
		t.boot()
	case Spawned:
		t.spawned(ev)
	case SpawnFailed:
		t.spawnFailed(ev)
	case Ready:
		t.ready(ev.ID)
	case Exited:
		t.exited(ev)
	case Replace:
		t.replace(ev)
	case RollOut:
		t.rollOut(ev)
	case Scale:
		t.scale(ev.Workers)
	case Tick:
	case Stop:
		t.stop(t.Config.StopTimeout)
	case Quit:
		if t.Quick {
			t.kill()
		} else {
			t.Quick = true
			t.stop(t.Config.QuickTimeout)
		}
	case Kill:
		t.kill()
	}
	t.deadlines()
	t.rollDone()
	t.startDue()
	t.abortHung()
	t.stopFirst()
	t.deadlines() // what was asked to stop just now, with a StopTimeout of 0
	t.finish()
	return t.State, t.actions
}

// step is one call of Step under way. Its State is its own.
type step struct {
	State
	now     Time
	actions []Action
}

func (t *step) do(a Action) { t.actions = append(t.actions, a) }

func (t *step) boot() {
	if t.Phase != Idle {
		return
	}
	t.Phase = Starting
	for i := range t.Slots {
		t.Slots[i].RetryAt = t.now
	}
}

// Active tells whether workers may be started.
func (s State) Active() bool { return s.Phase == Starting || s.Phase == Running }

func (t *step) spawned(ev Spawned) {
	w := t.find(ev.ID)
	if w == nil || w.PID != 0 {
		return
	}
	w.PID = ev.PID
	switch {
	case w.Phase == WorkerSpawning:
		w.Phase, w.Since = WorkerStarting, t.now
		if w.EarlyReady {
			t.ready(ev.ID)
		}
	case w.Killed: // an earlier KILL may have found no process
		t.do(Signal{ev.ID, SignalKill})
	default:
		t.do(Signal{ev.ID, SignalStop})
	}
}

func (t *step) ready(id ID) {
	w := t.find(id)
	switch {
	case w == nil:
	case w.Phase == WorkerSpawning:
		w.EarlyReady = true
	case w.Phase == WorkerStarting:
		w.Phase, w.Since, w.Deadline = WorkerReady, t.now, Never
		slot := &t.Slots[id.Slot]
		slot.Failures, slot.RetryAt, slot.Epoch = 0, t.now, max(slot.Epoch, w.Epoch)
		t.FailedStarts = 0
		t.Phase = Running // a worker that starts is never left over in a fleet that stops
		if t.Roll.Reason != ReasonNone && w.Epoch == t.Roll.Target {
			t.Roll.Proven, t.Roll.Failures = true, 0
		}
		for i := range slot.Workers {
			if old := &slot.Workers[i]; old.ID != id && old.Phase == WorkerReady {
				t.ask(old, t.Replacing(*old), t.Config.StopTimeout)
			}
		}
	}
}

func (t *step) spawnFailed(ev SpawnFailed) {
	if w := t.find(ev.ID); w == nil || w.PID != 0 {
		return
	}
	t.ended(ev.ID, ReasonSpawnFailed, Exit{}, ev)
}

func (t *step) exited(ev Exited) {
	if t.find(ev.ID) == nil {
		return
	}
	t.ended(ev.ID, ReasonCrash, ev.Exit, SpawnFailed{})
}

// ended takes a live worker out of its slot and settles what becomes of the slot. unasked is the reason if we had not
// asked for the end.
func (t *step) ended(id ID, unasked Reason, exit Exit, failure SpawnFailed) {
	w := *t.find(id)
	slot := &t.Slots[id.Slot]
	slot.Workers = slices.DeleteFunc(slot.Workers, func(w Worker) bool { return w.ID == id })
	reason := w.Reason
	if reason == ReasonNone {
		reason = unasked
	}
	slot.LastExit, slot.LastReason, slot.LastExitAt = exit, reason, t.now
	t.Exits[reason]++

	early := slot.Paced-Time(t.Config.RespawnBurst)*t.Config.RespawnEvery > t.now
	switch {
	case !t.Active():
	case w.Reason == ReasonNone && w.Phase != WorkerReady && exit.outside() && !early:
		slot.RetryAt = t.now
	case w.Reason == ReasonStartTimeout, w.Phase != WorkerReady && w.Phase != WorkerStopping:
		t.failedStart(w, failure)
	case w.Phase == WorkerReady:
		slot.RetryAt = max(t.now, slot.Paced-Time(t.Config.RespawnBurst)*t.Config.RespawnEvery)
	default: // it went because it was asked to; the one beside it may have failed
		slot.RetryAt = max(t.now, slot.RetryAt)
	}
}

// failedStart charges a start that died before it was ready to its slot, to the roll that it belongs to and, while nobody
// is ready, to the fleet.
func (t *step) failedStart(w Worker, failure SpawnFailed) {
	slot := &t.Slots[w.ID.Slot]
	slot.Failures++
	slot.RetryAt = t.now + t.jitter(t.Config.backoff(slot.Failures))
	permanent := failure.Permanent && slot.LastReason == ReasonSpawnFailed
	if t.Count(WorkerReady) == 0 {
		t.FailedStarts++
		switch {
		case permanent && t.Phase == Starting:
			t.giveUp(w.ID, CauseCannotStart, fmt.Sprintf("cannot start worker %d: %s", w.ID.Slot, failure.Reason))
			return
		case t.FailedStarts >= t.Config.GiveUpAfter:
			t.giveUp(w.ID, CauseNeverReady, fmt.Sprintf(
				"cannot get any worker ready: %d starts in a row failed; worker %d, the last, %s",
				t.FailedStarts, w.ID.Slot, t.how(*slot, failure)))
			return
		}
	}
	if t.Roll.Reason == ReasonNone || w.Epoch != t.Roll.Target {
		return
	}
	t.Roll.Failures++
	if permanent || slot.LastReason == ReasonStartTimeout || t.Roll.Failures >= t.Config.RollFailures {
		t.abandon(w.ID, t.how(*slot, failure))
	}
}

// how says in words how the newest start of a slot failed.
func (t *step) how(slot Slot, failure SpawnFailed) string {
	switch {
	case slot.LastReason == ReasonStartTimeout:
		return fmt.Sprintf("was not ready within %v", t.Config.StartTimeout)
	case slot.LastReason == ReasonSpawnFailed:
		return "could not be started: " + failure.Reason
	case slot.LastExit.Signal != 0:
		return fmt.Sprintf("was ended by signal %d", slot.LastExit.Signal)
	}
	return fmt.Sprintf("exited with code %d", slot.LastExit.Code)
}
