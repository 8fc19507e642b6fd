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
//  2. A slot has at most two workers, and a second one only beside one that is to be replaced or was told to stop: at most
//     one of them is between Spawn and Ready, and when it is ready the other is told to stop. None is spawned beside another
//     if then more than Surge were beyond one in each slot (those told to stop included, all those of retired slots too), nor
//     beside one that was told to stop for starting too slowly. None is spawned after a stop or a give-up, or into a retired
//     slot. Never more than MaxStarting workers, those told to stop aside, are between Spawn and Ready. Of several slots that
//     are due those without a ready worker go first, then the one that is due longest.
//  3. A worker gets the stop signal (ABRT for ReasonWatchdog) at most once, never before its Spawned. KILL comes at the
//     stop deadline or for Kill, and again every KillEvery, and at a Spawned that comes that late, until its end is told.
//  4. A worker that had been ready and crashed is followed by another at once; in the long run a slot starts one every
//     RespawnEvery, with RespawnBurst of them ahead of that. One that dies before it was ready makes its slot wait
//     BackoffMin, doubled for each further failure up to BackoffMax, plus up to a tenth of it. RollOut and the end of a roll
//     that failed start its slots afresh; replacements make no slot wait longer than RespawnEvery.
//     A start that somebody else killed (KILL, and not the OOM killer) is no failed one while the slot keeps that pace.
//  5. The fleet gives up when GiveUpAfter starts in a row died before they were ready while no worker was ready, or when
//     a permanent SpawnFailed arrives before any worker has ever been ready. A fleet that has been ready once does not
//     end at the first permanent failure: the file may be missing for the moment that its update takes.
//  6. Finish is the last action, comes exactly once, and only when no worker is alive or asked for.
//  7. A ready worker is replaced (Replace, RollOut) by starting the new one beside it; the old one is asked to stop when the
//     new one is ready, and serves on as long as it is not. With a Surge of 0 it is asked first, one worker at a time and only
//     while all other slots have a ready one (a roll does not wait for slots that it leaves alone and whose starts fail).
//     Workers that reached a limit (age, requests, memory) are replaced one at a time. One with ReasonWatchdog is aborted at
//     once where no other can be started beside it, or when that one failed.
//  8. A roll takes each slot's worker of an older epoch to the new one; what is not ready yet is asked to stop at once. It is
//     Done when no worker of an older epoch is left; where the new rules have fewer slots, the others are given up then, and
//     it is Done when their workers are gone. It Failed when RollFailures starts of the new epoch in a row were not ready, or
//     one was not ready in time or failed permanently. Then starts are of the epoch before, by the rules before, and what
//     starts of the new one is asked to stop; if a worker of the new one has been ready, starts are of the new one, and only
//     what starts beside a ready worker is asked to stop. RollEnded comes exactly once for each roll that began.
//  9. Scale gives up the highest slots: their workers are asked to stop. Slots that come back go on counting incarnations.
//
// 10. After Step(s, now, …) the new state's Next is later than now: a loop that arms one timer with it never spins.
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
// Time that goes backwards only delays things.
package fleet
