// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package fleet

// This file holds what Step may ask for. Actions are carried out in order, and are answered only by events.

// Action is one of Spawn, Signal, RollEnded and Finish.
type Action interface{ action() }

type (
	// Spawn asks for a process. The answer is Spawned, or SpawnFailed, or Exited at any time.
	Spawn struct {
		ID    ID
		From  Origin
		Epoch int // what to start it from
	}

	// Signal asks to signal a worker. SignalStop goes only to one that was Spawned; SignalKill also to one that was
	// not, and may be dropped when there is no process yet.
	Signal struct {
		ID   ID
		Kind Kind
	}

	// RollEnded answers RollOut. When it was Done, every worker of an older epoch is gone. When it Failed, Epoch is the one
	// before, or the new one if a worker of it has been ready: then workers of both may be left.
	RollEnded struct {
		Result Result
		Epoch  int    // of the starts from now on
		Reason string // for people, when Failed
		Last   ID     // when Failed: the worker whose end was one too many; zero when the fleet was told to stop
	}

	// Finish says that nothing is left to do.
	Finish struct {
		Result Result
		Why    Cause
		Reason string // for people, when Failed: "cannot …"
		Last   ID     // when Failed: the worker whose end made the fleet give up
	}
)

func (Spawn) action()     {}
func (Signal) action()    {}
func (RollEnded) action() {}
func (Finish) action()    {}

// Origin is where a worker comes from.
type Origin int

// OriginExec is a fresh process: fork and exec.
const OriginExec Origin = 0

// Kind is the kind of a signal.
type Kind int

// The kinds of signals.
const (
	SignalStop  Kind = iota // the configured stop signal
	SignalKill              // KILL, to the worker's whole group
	SignalAbort             // ABRT instead of the stop signal: the worker is hung
)

// Result is how a fleet ended.
type Result int

// The results.
const (
	Done   Result = iota // it was asked to stop
	Failed               // it gave up
)

// Cause is why a fleet ended.
type Cause int

// The causes.
const (
	CauseAsked       Cause = iota // by Stop, Quit or Kill
	CauseNeverReady               // GiveUpAfter starts in a row died before they were ready
	CauseCannotStart              // a permanent failure at the first start
)
