// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// When to read what: the arithmetic of the budget, without clock or I/O.

import (
	"math"
	"time"
)

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
	owed  float64 // seconds
	large float64 // and what single samples took beyond what the budget gives in a period of the scans
	room  float64 // how much the running costs may add
	at    time.Time
}

// pay covers the debt by what the budget, a share of a core, has given since the last call. A quarter of it at most goes to
// large ones, so that nobody has to wait until a huge worker has been paid for.
func (d *debt) pay(now time.Time, share float64) {
	if !d.at.IsZero() {
		given := max(0, share*now.Sub(d.at).Seconds())
		part := min(d.large, given/4)
		left := d.owed - (given - part)
		d.owed, d.large = max(0, left), max(0, d.large-part+min(0, left))
		d.room = min(d.room+given*runShare, share*60)
	}
	d.at = now
}

// may tells whether another sample may be taken: while less than one whole round is owed. So a round that fits the
// budget is taken in one go, which makes its figures belong together, and a dearer one rotates over the workers.
// round is what a round is thought to cost; some more makes up for small ones, whose cost varies most.
func (d *debt) may(round time.Duration) bool { return d.owed < (round + roundSlack).Seconds() }

const roundSlack = 20 * time.Millisecond

// add takes cost on. What is more than ordinary is a large debt.
func (d *debt) add(cost, ordinary time.Duration) {
	d.owed += min(cost, ordinary).Seconds()
	d.large += max(0, cost-ordinary).Seconds()
}

// run takes on what is no sample, a part of the budget at most: where ticking alone costs more than the budget allows, the
// samples are to go on all the same.
func (d *debt) run(cost time.Duration) {
	part := min(cost.Seconds(), d.room)
	d.owed, d.room = d.owed+part, d.room-part
}

const runShare = 0.8

// ordinary is what a sample may cost without being a large one: what the budget gives from one to the next.
func ordinary(budget float64, scan time.Duration) time.Duration {
	return seconds(budget * scan.Seconds())
}

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

// The parts of the budget that T0, with publishing it, and that the walks over the trees with gopsutil may take. The
// samples have the rest.
const (
	tickShare  = 0.2
	usageShare = 0.4
)

// usagePeriod spaces these walks, of which one took cost.
func usagePeriod(cost time.Duration, budget float64, tick time.Duration) time.Duration {
	return max(tick, seconds(cost.Seconds()/(budget*usageShare)))
}

// tickPeriod spaces the ticks, of which one took cost. The scans need figures of T0 that are not older than they.
func tickPeriod(cost time.Duration, budget float64, tick, scan time.Duration) time.Duration {
	return max(tick, min(scan, seconds(cost.Seconds()/(budget*tickShare))))
}

// urgency ranks workers by what another sample of them is worth: age is that of the last one, cost what it took, mean what
// one of the fleet takes. What has changed comes sooner, what is dear is rarer; but the age of everything grows, so that
// nothing is forgotten. (The sum of all ages is least where they go by the root of the cost; bounded, since the largest
// worker is where the most memory is.)
func urgency(age time.Duration, moved bool, cost, mean time.Duration) float64 {
	u := age.Seconds()
	if moved {
		u *= movedWeight
	}
	if cost > mean && mean > 0 {
		u /= min(math.Sqrt(float64(cost)/float64(mean)), dearWeight)
	}
	return u
}

const (
	movedWeight = 4
	dearWeight  = 4
)

// differs tells whether a figure in bytes has moved by so much that it is worth another scan: 4 MiB, or 1 % that is more
// than what any process takes and gives back all the time.
func differs(now, then int64) bool {
	d := max(now-then, then-now)
	return d > 4<<20 || d > 256<<10 && d > then/100
}
