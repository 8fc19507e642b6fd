// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// What the endpoints read.

import "github.com/preforkd/preforkd/supervisor"

// Source is the fleet that is served. Its methods are called from many goroutines, answer at once and never block on
// the supervisor's loop. *supervisor.Supervisor is one.
type Source interface {
	// Snapshot is the newest snapshot; nil before the first one. Nobody changes it any more.
	Snapshot() *supervisor.Snapshot
	// Healthy tells whether the loop answered within the last 5 seconds.
	Healthy() bool
	// Ready tells whether at least one worker is ready and no stop is under way.
	Ready() bool
	// Counters are the totals since the start. The maps are the caller's; a reason or result that may come is there from
	// the start, with 0.
	Counters() Counters
	// Events are the last 256 things that happened, of those with a Seq above after; oldest first. The slice is the caller's.
	Events(after uint64) []supervisor.Event
	// Updated is closed at the next change of what Snapshot and Events tell; figures that are measured change without it.
	Updated() <-chan struct{}
}

// Counters are the totals that a snapshot does not carry.
type Counters = supervisor.Counters

var _ Source = (*supervisor.Supervisor)(nil)
