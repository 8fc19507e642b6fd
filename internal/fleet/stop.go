// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package fleet

// This file holds how workers are made to go, asked or overdue, and when the fleet is over.

func (t *step) giveUp(last ID, why Cause, reason string) {
	t.Outcome = Finish{Result: Failed, Why: why, Reason: reason, Last: last}
	t.stop(t.Config.StopTimeout)
}

// stop asks every worker to stop. It never takes back an outcome or lengthens a deadline.
func (t *step) stop(timeout Time) {
	t.stopping()
	for w := range t.all() {
		t.ask(w, ReasonStop, timeout)
	}
}

func (t *step) kill() {
	t.stopping()
	for w := range t.all() {
		if w.Phase != WorkerStopping {
			w.Phase, w.Since, w.Reason = WorkerStopping, t.now, ReasonStop
		}
		if !w.Killed {
			t.killWorker(w)
		}
	}
}

// stopping ends all starting for good.
func (t *step) stopping() {
	t.Phase = Stopping
	if t.Roll.Reason != ReasonNone {
		t.Roll = Roll{}
		ended := RollEnded{Result: Failed, Epoch: t.Epoch, Reason: "the fleet was told to stop"}
		if t.Outcome.Result == Failed {
			ended.Reason, ended.Last = t.Outcome.Reason, t.Outcome.Last
		}
		t.do(ended)
	}
}

// ask asks one worker to stop, or to hurry when it was asked before. One that is not Spawned gets its signal then, but
// its time runs from now: it has nothing to finish.
func (t *step) ask(w *Worker, reason Reason, timeout Time) {
	deadline := after(t.now, timeout)
	switch {
	case w.Killed:
	case w.Phase == WorkerStopping:
		w.Deadline = min(w.Deadline, deadline)
	default:
		w.Phase, w.Since, w.Reason, w.Deadline = WorkerStopping, t.now, reason, deadline
		switch {
		case w.PID == 0:
		case reason == ReasonWatchdog:
			t.do(Signal{w.ID, SignalAbort})
		default:
			t.do(Signal{w.ID, SignalStop})
		}
	}
}

func (t *step) killWorker(w *Worker) {
	w.Killed, w.Deadline = true, after(t.now, t.Config.KillEvery)
	t.do(Signal{w.ID, SignalKill})
}

// deadlines does what is overdue, each thing once however long it has been.
func (t *step) deadlines() {
	for w := range t.all() {
		if w.Deadline > t.now {
			continue
		}
		if w.Phase != WorkerStopping {
			t.ask(w, ReasonStartTimeout, t.Config.StopTimeout)
		}
		if w.Deadline > t.now { // not so with a StopTimeout of 0
			continue
		}
		if !w.Killed && w.Reason != ReasonStartTimeout && w.Reason != ReasonWatchdog {
			w.Reason = ReasonStopTimeout
		}
		t.killWorker(w)
	}
}

func (t *step) finish() {
	if t.Phase == Stopping && t.Live() == 0 {
		t.Phase = Stopped
		t.do(t.Outcome)
	}
}

// all yields every worker, slot by slot, to be changed in place.
func (t *step) all() func(yield func(*Worker) bool) {
	return func(yield func(*Worker) bool) {
		for i := range t.Slots {
			for j := range t.Slots[i].Workers {
				if !yield(&t.Slots[i].Workers[j]) {
					return
				}
			}
		}
	}
}
