// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Package recycle decides when a healthy worker has served long enough and when a worker hangs: --max-age,
// --max-requests, --max-private and --watchdog. It is pure: there is no clock, goroutine, lock or I/O here. The caller
// makes a Tracker when it starts a worker, tells it what it hears, and asks Due.
//
// What it promises:
//
//  1. Each worker has limits of its own, drawn when it starts: uniformly from Value ± Jitter × Value, at least 1. Workers
//     that started together are not replaced together.
//  2. Due is true exactly from Next on. A loop that arms its timer with Next and asks after each input misses nothing and
//     never spins.
//  3. No verdict comes before the worker is ready: until then the start timeout watches over it.
//  4. A worker is to be replaced at most once, until Postpone allows it again, and hangs at most once. It may hang while
//     it waits for its replacement; after it hung there are no more verdicts.
//  5. MaxPrivate needs Samples readings in a row, each from another moment and not one of the first Settle after ready. A
//     worker that is over its limit in the first reading after it became ready is not replaced, since its successor would
//     be so too: that is a Refusal, and the limit of this tracker is off.
//
// What it asks of the caller: times are those of one clock that stands still while this process does (a stopped process, a
// frozen container), else a pause looks like a hang. A worker that was told to stop has other deadlines: ask no more. That
// replacements come one at a time is the fleet's business.
package recycle
