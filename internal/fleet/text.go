// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"fmt"
	"time"
)

// This file holds how everything here reads in logs, transcripts and /stats.

func name(names []string, i int) string {
	if i < 0 || i >= len(names) {
		return fmt.Sprintf("unknown(%d)", i)
	}
	return names[i]
}

// String returns the state's name as in /stats; Idle is "loading" there.
func (p Phase) String() string {
	return name([]string{"loading", "starting", "running", "stopping", "stopped"}, int(p))
}

func (p WorkerPhase) String() string {
	return name([]string{"spawning", "starting", "ready", "stopping"}, int(p))
}

// String returns the reason's name as in /stats, "none" for ReasonNone.
func (r Reason) String() string {
	return name([]string{
		"none", "stop", "crash", "start-timeout", "stop-timeout", "spawn-failed", "reload", "restart", "scale",
		"max-age", "max-requests", "max-private", "watchdog",
	}, int(r))
}

func (o Origin) String() string { return name([]string{"exec"}, int(o)) }

func (k Kind) String() string { return name([]string{"stop", "kill", "abort"}, int(k)) }

func (r Result) String() string { return name([]string{"done", "failed"}, int(r)) }

func (c Cause) String() string { return name([]string{"asked", "never ready", "cannot start"}, int(c)) }

// String returns slot and incarnation, as in 3#1.
func (id ID) String() string { return fmt.Sprintf("%d#%d", id.Slot, id.Incarnation) }

func (e Exit) String() string {
	if e.Signal != 0 {
		return fmt.Sprintf("signal %d", e.Signal)
	}
	return fmt.Sprintf("code %d", e.Code)
}

func (a Spawn) String() string { return fmt.Sprintf("spawn %v", a.ID) }

func (a Signal) String() string { return fmt.Sprintf("%v %v", a.Kind, a.ID) }

func (a RollEnded) String() string {
	if a.Result == Done {
		return fmt.Sprintf("roll: done, epoch %d", a.Epoch)
	}
	return fmt.Sprintf("roll: failed, epoch %d: %s", a.Epoch, a.Reason)
}

func (a Finish) String() string {
	if a.Result == Done {
		return "finish: done"
	}
	return fmt.Sprintf("finish: failed (%v): %s", a.Why, a.Reason)
}

// Describe returns the fleet at time now in one line: its phase, then each slot. Waits are rounded to unit.
func (s State) Describe(now Time, unit time.Duration) string {
	text := s.Phase.String()
	if s.FailedStarts > 0 && s.Phase <= Running {
		text += fmt.Sprintf(" (%d failed in a row)", s.FailedStarts)
	}
	if s.Roll.Reason != ReasonNone {
		done, total := s.Progress()
		text += fmt.Sprintf(" (%v to epoch %d, %d of %d)", s.Roll.Reason, s.Roll.Target, done, total)
	}
	for i, slot := range s.Slots {
		for _, w := range slot.Workers {
			text += "; " + w.describe(now, unit)
			if r := s.Replacing(w); r != ReasonNone && w.Phase == WorkerReady {
				text += fmt.Sprintf(", to be replaced (%v)", r)
			}
		}
		switch due := s.Due(i); {
		case due == Never && len(slot.Workers) == 0 && i >= s.Config.Workers:
			text += fmt.Sprintf("; %d retired", i)
		case due == Never && len(slot.Workers) == 0:
			text += fmt.Sprintf("; %d empty", i)
		case due == Never:
		case due <= now && !s.mayStart(i) && s.serves(i): // said already
		case due <= now && !s.mayStart(i):
			text += fmt.Sprintf("; %d waits for a place", i)
		default:
			text += fmt.Sprintf("; %d backoff, start in %v", i, (due - now).Round(unit))
		}
	}
	return text
}

func (w Worker) describe(now Time, unit time.Duration) string {
	text := fmt.Sprintf("%v %v", w.ID, w.Phase)
	if w.Reason != ReasonNone {
		text += fmt.Sprintf(" (%v)", w.Reason)
	}
	if w.PID == 0 && w.Phase == WorkerStopping {
		text += " before it was spawned"
	}
	if w.EarlyReady && w.Phase == WorkerSpawning {
		text += ", ready already"
	}
	act := "stop"
	switch {
	case w.Deadline == Never:
		return text
	case w.Killed:
		act = "kill again"
	case w.Phase == WorkerStopping:
		act = "kill"
	}
	return text + fmt.Sprintf(", %s in %v", act, (w.Deadline-now).Round(unit))
}
