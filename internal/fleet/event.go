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
func (Tick) event()        {}
func (Stop) event()        {}
func (Quit) event()        {}
func (Kill) event()        {}

// Exit is how a process ended: by Signal, or with Code when Signal is 0.
type Exit struct{ Code, Signal int }

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
	reasons
)

// Reasons returns all reasons but ReasonNone: the valid indexes of State.Exits that people want to see.
func Reasons() []Reason {
	return []Reason{ReasonStop, ReasonCrash, ReasonStartTimeout, ReasonStopTimeout, ReasonSpawnFailed}
}
