// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package fleet

// This file holds what Step may be told, and the reasons for which a worker ends.

// Event is one of the types below.
type Event interface{ event() }

type (
	// Boot begins: the data is loaded and the first workers may start.
	Boot struct{}

	// Spawned says that the worker's command runs; PID is positive.
	Spawned struct {
		ID  ID
		PID int
	}

	// SpawnFailed says that there is no process, or none any more, and that the command never ran. Permanent: trying
	// again would fail alike (no such command, not executable, no such user). Reason is a text for people.
	SpawnFailed struct {
		ID        ID
		Permanent bool
		Reason    string
	}

	// Ready says that the worker serves.
	Ready struct{ ID ID }

	// Exited says that the worker's process was reaped.
	Exited struct {
		ID   ID
		Exit Exit
	}

	// Replace asks for another worker in the place of this one, which is ready. Reason is ReasonAge, ReasonRequests,
	// ReasonMemory or ReasonWatchdog.
	Replace struct {
		ID     ID
		Reason Reason
	}

	// RollOut asks for other workers in the place of all, or of those in Slots, from a new epoch on. Config, if not nil,
	// are new rules. It is answered by RollEnded; before Boot, while a roll is under way or the fleet stops nothing happens.
	RollOut struct {
		Reason Reason // ReasonReload or ReasonRestart
		Slots  []int  // nil: all
		Config *Config
	}

	// Scale sets the number of slots.
	Scale struct{ Workers int }

	// Tick says that time has passed.
	Tick struct{}

	// Stop asks every worker to stop and waits for StopTimeout.
	Stop struct{}

	// Quit asks every worker to stop, or those already asked to hurry, and waits for QuickTimeout. A second one is Kill.
	Quit struct{}

	// Kill kills every worker now.
	Kill struct{}
)

func (Boot) event()        {}
func (Spawned) event()     {}
func (SpawnFailed) event() {}
func (Ready) event()       {}
func (Exited) event()      {}
func (Replace) event()     {}
func (RollOut) event()     {}
func (Scale) event()       {}
func (Tick) event()        {}
func (Stop) event()        {}
func (Quit) event()        {}
func (Kill) event()        {}

// Exit is how a process ended: by Signal, or with Code when Signal is 0. OOM: the signal was the OOM killer's.
type Exit struct {
	Code, Signal int
	OOM          bool
}

// outside tells whether somebody else killed the process, if we did not: that says nothing about the program.
func (e Exit) outside() bool { return e.Signal == sigKill && !e.OOM }

const sigKill = 9

// Reason is why a worker ended, as counted in /stats.
type Reason int

// The reasons. One that we asked for stands even if the worker ends by other means.
const (
	ReasonNone         Reason = iota
	ReasonStop                // we asked it to stop, or killed it because we were told to
	ReasonCrash               // it ended unasked, with whatever code
	ReasonStartTimeout        // it was not ready in time and so was asked to stop
	ReasonStopTimeout         // it was asked to stop and did not within the time
	ReasonSpawnFailed         // its command never ran
	ReasonReload              // replaced: a reload
	ReasonRestart             // replaced: somebody asked for it
	ReasonScale               // its slot was given up
	ReasonAge                 // replaced: it had reached its age
	ReasonRequests            // replaced: it had served its number of requests
	ReasonMemory              // replaced: it held too much memory of its own
	ReasonWatchdog            // replaced: it showed no sign of life, and got ABRT instead of the stop signal
	reasons
)

// Reasons returns all reasons but ReasonNone: the valid indexes of State.Exits that people want to see.
func Reasons() []Reason {
	all := make([]Reason, 0, reasons-1)
	for r := ReasonNone + 1; r < reasons; r++ {
		all = append(all, r)
	}
	return all
}
