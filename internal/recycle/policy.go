// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package recycle

// This file holds what the user set, and how a worker's own limits are drawn from it.

import (
	"math"
	"math/rand/v2"
	"time"
)

// Time is the time since the loop started, by a monotonic clock.
type Time = time.Duration

// Never is the moment that does not come. 0 is a real time.
const Never Time = math.MaxInt64

const (
	// Samples is how many readings in a row must be over MaxPrivate: memory that is given back at once is no leak.
	Samples = 3
	// Settle is how long after ready no reading counts: caches fill and the first requests import what they need.
	Settle Time = 5 * time.Second
	// Fresh is how long after ready a worker's size is what it has before it has served anybody.
	Fresh Time = 3 * time.Second
)

// Limit is a value at which a worker is to be replaced, 0 or less for never. A worker's own limit is drawn from Value ±
// Jitter × Value; Jitter is from 0 up to, not including, 1.
type Limit struct {
	Value  int64
	Jitter float64
}

// Policy is what the user set.
type Policy struct {
	MaxAge      Limit         // nanoseconds since the start of the process
	MaxRequests Limit         // as the worker counts them
	MaxPrivate  Limit         // bytes of anonymous memory
	Watchdog    time.Duration // longest time between two signs of life, 0 or less for no watchdog
}

// draw returns a worker's own limit, 0 for never.
func (l Limit) draw(r *rand.Rand) int64 {
	if l.Value <= 0 {
		return 0
	}
	if !(l.Jitter > 0 && l.Jitter < 1) { // NaN too
		return l.Value
	}
	spread := uint64(float64(l.Value) * l.Jitter)
	drawn := uint64(l.Value) - min(spread, uint64(l.Value)-1) + r.Uint64N(2*spread+1)
	return int64(min(drawn, math.MaxInt64))
}
