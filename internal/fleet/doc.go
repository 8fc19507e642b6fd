// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Package fleet decides what a fleet of workers does next. It is pure: Step maps a state, the time and one event to the
// next state and a list of actions; New makes the first state, State.Next tells when Step must be called again although
// nothing happened. There is no clock, goroutine, lock or I/O here, and nothing that Step was given is ever changed, so a
// State can be published, kept, compared, stored and explored.
//
// What it promises:
//
//  1. News of a worker that is not alive, doubled news and news that cannot be true (SpawnFailed after Spawned) do what a
//     Tick at that moment would do: nothing, unless a deadline has passed. An ID is never used twice.
//  2. No worker is spawned into a slot while an earlier one of that slot may live, nor after a stop or a give-up. Never
//     more than MaxStarting workers, those told to stop aside, are between Spawn and Ready. Of several slots that are due,
//     the one due longest goes first.
//  3. A worker gets the stop signal at most once, never before its Spawned. KILL comes at the stop deadline or for Kill,
//     and again every KillEvery, and at a Spawned that comes that late, until the worker's end is told.
//  4. A worker that had been ready is replaced at once, at most one start per MinRespawn. One that dies before it was
//     ready makes its slot wait BackoffMin, doubled for each further failure up to BackoffMax, plus up to a tenth of it.
//  5. The fleet gives up when GiveUpAfter starts in a row died before they were ready while no worker was ready, or when
//     a permanent SpawnFailed arrives before any worker has ever been ready. A fleet that has been ready once does not
//     end at the first permanent failure: the file may be missing for the moment that its update takes.
//  6. Finish is the last action, comes exactly once, and only when no worker is alive or asked for.
//  7. After Step(s, now, …) the new state's Next is later than now: a loop that arms one timer with it never spins.
//
// What it asks of the caller: one ID's news arrive as Spawned before Exited, Exited exactly once and last, or else a
// single SpawnFailed and nothing more. (Ready before Spawned is kept until Spawned; Exited without Spawned is an end.)
// Every KILL must reach whatever process exists for the ID, even one that has not exec'd yet, and may be dropped when
// there is none: it is repeated.
//
// Events are handled before deadlines: a worker whose Ready or Exited is handled late is not punished for it. When the
// time has gone far ahead (a stopped process, a frozen container; Linux's monotonic clock itself stands still in suspend),
// every deadline that has passed acts exactly once: one start per slot, one KILL, and starts that ran out of time are
// stopped and count as failed. A caller that does not want a pause to count holds its own clock still for that long.
//
// Time that goes backwards only delays things. A slot holds a list of workers although it has one at most today:
// replacement will have two for a while.
package fleet
