// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"math"
	"slices"
	"time"
)

// This file holds what a fleet is at one moment, and how the first moment looks.

// Time is the time since the loop started, by a monotonic clock.
type Time = time.Duration

// Never is the deadline that does not come. 0 is a real time.
const Never Time = math.MaxInt64

// longest bounds the configured waits, so that adding some of them to a time stays below Never.
const longest = Never / 8

// Config is the fleet's rules. New guards against values that would break a promise; everything else is the caller's to
// refuse.
type Config struct {
	Workers      int           // slots
	MaxStarting  int           // workers between Spawn and Ready at once, at least 1
	Surge        int           // processes beyond Workers while replacing; 0: the old worker stops first
	StartTimeout time.Duration // from Spawn to Ready, at least 1 ns; Never: no limit
	StopTimeout  time.Duration // from the request to stop to KILL; Never: no limit
	QuickTimeout time.Duration // the same after Quit
	KillEvery    time.Duration // between one KILL and the next, at least 1 ns
	BackoffMin   time.Duration // wait after a slot's first failed start, at least 1 ns
	BackoffMax   time.Duration // longest such wait, before the jitter of up to a tenth
	RespawnEvery time.Duration // from one start to the next in a slot whose worker had been ready, in the long run
	RespawnBurst int           // starts that may come ahead of that
	GiveUpAfter  int           // failed starts in a row, at least 1
	RollFailures int           // failed starts in a row that end a roll, at least 1
	Seed         uint64        // of the jitter
}

// Phase is what the fleet as a whole is doing.
type Phase int

// The phases of a fleet, in the order in which it normally passes through them.
const (
	Idle     Phase = iota // before Boot: the data is being loaded
	Starting              // no worker has been ready yet
	Running               // a worker has been ready
	Stopping              // a stop was asked for, or the fleet gave up; workers are left
	Stopped               // Finish was issued; nothing happens any more
)

// WorkerPhase is what one worker is doing.
type WorkerPhase int

// The phases of a worker.
const (
	WorkerSpawning WorkerPhase = iota // asked for, no Spawned yet
	WorkerStarting                    // runs, not ready yet
	WorkerReady
	WorkerStopping // asked to stop; PID 0: not Spawned yet, the stop signal waits for it
)

// ID names one process of the fleet's life. Incarnation counts from 1 in each slot, so that ID{} names nobody.
type ID struct{ Slot, Incarnation int }

// Worker is one process, alive or asked for.
type Worker struct {
	ID         ID
	PID        int // 0 until Spawned
	Phase      WorkerPhase
	Started    Time   // when it was asked for
	Since      Time   // when Phase began
	Deadline   Time   // start timeout, stop timeout or next KILL; Never when ready
	EarlyReady bool   // Ready came before Spawned
	Killed     bool   // KILL was sent at least once
	Reason     Reason // of the exit to come when we asked for it, else ReasonNone
	Epoch      int    // of the release it was started from
	Wanted     Reason // why it alone is to be replaced, else ReasonNone; see State.Replacing
}

// Slot is a position in the fleet.
type Slot struct {
	Workers         []Worker // oldest first; two while one is being replaced
	Failures        int      // starts in a row that died before ready
	RetryAt         Time     // no start before; see State.Due
	Paced           Time     // the latest start, and RespawnEvery for each one before that came early
	Epoch           int      // of the newest worker that has been ready here
	Respawns        int      // starts beyond the first
	NextIncarnation int
	LastExit        Exit // zero when the spawn failed
	LastReason      Reason
	LastExitAt      Time
}

// Roll is the replacement of many workers by ones of a new epoch: those of all slots, or of some.
type Roll struct {
	Reason   Reason // ReasonReload or ReasonRestart; ReasonNone: there is no roll
	Slots    []int  // nil: all
	Target   int    // the new epoch
	Workers  int    // slots when it is over
	Proven   bool   // a worker of the new epoch has been ready
	Failures int    // starts of the new epoch that failed, in a row
	Before   Config // the rules before, to go back to
}

// State is a fleet at one moment. Nobody may change one that was handed out. It holds no pointers but its slices, and
// every field is exported, so that it can be stored and taken up again.
type State struct {
	Config       Config
	Phase        Phase
	Slots        []Slot // those from Config.Workers on are retired: they start nothing
	Epoch        int    // of the starts outside of a roll
	Epochs       int    // the newest epoch there has been
	Roll         Roll
	FailedStarts int    // in a row, anywhere, while no worker was ready
	Quick        bool   // a Quit was seen: the next one kills
	Outcome      Finish // what Finish will say once the workers are gone; means nothing before Stopping
	Rand         uint64 // state of the jitter's generator
	Spawns       int64  // starts asked for
	Exits        [reasons]int64
}

// New returns a fleet that waits for Boot. Its first epoch is 1.
func New(c Config) State {
	s := State{Config: c.sane(), Epoch: 1, Epochs: 1, Rand: c.Seed}
	s.grow()
	return s
}

// sane returns c with what would break a promise put right.
func (c Config) sane() Config {
	c.Workers = max(c.Workers, 0)
	c.MaxStarting = max(c.MaxStarting, 1)
	c.Surge = max(c.Surge, 0)
	c.GiveUpAfter = max(c.GiveUpAfter, 1)
	c.RollFailures = max(c.RollFailures, 1)
	c.StartTimeout = max(c.StartTimeout, 1)
	c.StopTimeout = max(c.StopTimeout, 0)
	c.QuickTimeout = max(c.QuickTimeout, 0)
	c.KillEvery = min(max(c.KillEvery, 1), longest)
	c.BackoffMin = min(max(c.BackoffMin, 1), longest)
	c.BackoffMax = min(max(c.BackoffMax, c.BackoffMin), longest)
	c.RespawnBurst = min(max(c.RespawnBurst, 0), 1000)
	c.RespawnEvery = min(max(c.RespawnEvery, 0), longest/1001)
	return c
}

// grow makes the slots that Config.Workers asks for. A retired slot is taken up again: its incarnations go on counting.
func (s *State) grow() {
	for len(s.Slots) < s.Config.Workers {
		s.Slots = append(s.Slots, Slot{NextIncarnation: 1})
	}
}

// Next returns the earliest time at which Step must see a Tick, or Never.
func (s State) Next() Time {
	next := Never
	for i := range s.Slots {
		if s.mayStart(i) { // else it waits for news, not for a time
			next = min(next, s.Due(i))
		}
		for _, w := range s.Slots[i].Workers {
			next = min(next, w.Deadline)
		}
	}
	return next
}

// Count returns how many workers are in phase p.
func (s State) Count(p WorkerPhase) int {
	n := 0
	for i := range s.Slots {
		for _, w := range s.Slots[i].Workers {
			if w.Phase == p {
				n++
			}
		}
	}
	return n
}

// Live returns how many workers are alive or asked for.
func (s State) Live() int {
	n := 0
	for i := range s.Slots {
		n += len(s.Slots[i].Workers)
	}
	return n
}

// Worker returns the live worker with this ID.
func (s State) Worker(id ID) (Worker, bool) {
	if w := s.find(id); w != nil {
		return *w, true
	}
	return Worker{}, false
}

func (s State) starting() int { return s.Count(WorkerSpawning) + s.Count(WorkerStarting) }

// find returns a pointer into s, which the caller may write through only if s is its own clone.
func (s State) find(id ID) *Worker {
	if id.Slot < 0 || id.Slot >= len(s.Slots) {
		return nil
	}
	workers := s.Slots[id.Slot].Workers
	i := slices.IndexFunc(workers, func(w Worker) bool { return w.ID == id })
	if i < 0 {
		return nil
	}
	return &workers[i]
}

func (s State) clone() State {
	s.Roll.Slots = slices.Clone(s.Roll.Slots)
	s.Slots = slices.Clone(s.Slots)
	for i := range s.Slots {
		s.Slots[i].Workers = slices.Clone(s.Slots[i].Workers)
	}
	return s
}
