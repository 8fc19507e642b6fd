// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// When to read what: the arithmetic of the budget, without clock or I/O.

import "time"

// debounce turns a burst of changes into one reaction: when it has been quiet for a while, but not later than a limit
// after the first change.
type debounce struct{ first, last time.Time }

func (d *debounce) mark(now time.Time) {
	d.last = now
	if d.first.IsZero() {
		d.first = now
	}
}

// due tells whether it is time to react. Reacting means to reset the debounce.
func (d *debounce) due(now time.Time, quiet, limit time.Duration) bool {
	return !d.first.IsZero() && (now.Sub(d.last) >= quiet || now.Sub(d.first) >= limit)
}

// debt is processor time that was taken and is not yet covered by the budget.
type debt struct {
	owed float64 // seconds
	at   time.Time
}

// pay covers the debt by what the budget, a share of a core, has given since the last call.
func (d *debt) pay(now time.Time, share float64) {
	if !d.at.IsZero() {
		d.owed = max(0, d.owed-share*now.Sub(d.at).Seconds())
	}
	d.at = now
}

// may tells whether another sample may be taken: while less than one whole round is owed. So a round that fits the
// budget is taken in one go, which makes its figures belong together, and a dearer one rotates over the workers.
// round is what a round is thought to cost; some more makes up for small ones, whose cost varies most.
func (d *debt) may(round time.Duration) bool { return d.owed < (round + roundSlack).Seconds() }

const roundSlack = 20 * time.Millisecond

func (d *debt) add(cost time.Duration) { d.owed += cost.Seconds() }

// period is how long a round over all workers takes under a budget: at least floor. scan and sum are the processor
// time of all page scans and of all smaps_rollups, which are due every exact, or with each scan where those are
// rarer.
func period(scan, sum time.Duration, budget float64, floor, exact time.Duration) time.Duration {
	left := budget - sum.Seconds()/exact.Seconds()
	if left > 0 {
		if p := seconds(scan.Seconds() / left); p <= exact {
			return max(floor, p)
		}
	}
	return max(floor, seconds((scan+sum).Seconds()/budget))
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// usageShare is the part of the budget that the walk over the trees and gopsutil may take.
const usageShare = 0.5

// usagePeriod spaces these walks, of which one took cost.
func usagePeriod(cost time.Duration, budget float64, tick time.Duration) time.Duration {
	return max(tick, seconds(cost.Seconds()/(budget*usageShare)))
}
