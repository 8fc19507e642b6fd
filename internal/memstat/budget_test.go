// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

import (
	"testing"
	"time"
)

func TestTheDebounceWaitsForQuietButNotForEver(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	var d debounce
	if d.due(at(100), time.Second, 10*time.Second) {
		t.Error("due without a change")
	}
	d.mark(at(0))
	d.mark(at(0.5))
	if d.due(at(1.4), time.Second, 10*time.Second) {
		t.Error("due 0.9 s after the last change")
	}
	if !d.due(at(1.5), time.Second, 10*time.Second) {
		t.Error("not due 1 s after the last change")
	}
	for i := range 40 {
		d.mark(at(float64(i) / 4))
	}
	if !d.due(at(10), time.Second, 10*time.Second) {
		t.Error("not due 10 s after the first of unceasing changes")
	}
}

// The promise of the budget: however much there is to sample, what is taken in the long run is the budget's share.
func TestTheBudgetHoldsInTheLongRun(t *testing.T) {
	const cost, workers, share = 40 * time.Millisecond, 64, 0.01
	var d debt
	var taken time.Duration
	start := time.Unix(1000, 0)
	const run = 2 * time.Hour
	for now := start; now.Before(start.Add(run)); now = now.Add(time.Second) {
		d.pay(now, share)
		for d.may(workers * cost) {
			taken += cost
			d.add(cost, cost)
		}
	}
	got := taken.Seconds() / run.Seconds()
	burst := (workers + 1) * cost.Seconds() / run.Seconds()
	if got < share || got > share+burst+0.0001 {
		t.Errorf("%.4f of a core was taken, want %.4f and at most a round more", got, share)
	}
}

// With thousands of workers and a small budget ticking may cost more than that. Then samples are rare, and do not end.
func TestSamplesGoOnUnderAnyRunningCost(t *testing.T) {
	const share, sample = 0.01, 10 * time.Millisecond
	var d debt
	start, samples := time.Unix(1000, 0), 0
	for now := start; now.Before(start.Add(time.Hour)); now = now.Add(time.Second) {
		d.pay(now, share)
		for d.may(sample) {
			samples++
			d.add(sample, sample)
		}
		d.run(50 * time.Millisecond)
	}
	if samples < 600 || samples > 800 { // a fifth of the budget is 720
		t.Errorf("%d samples in an hour", samples)
	}
}

func TestThePeriodFollowsCostAndBudget(t *testing.T) {
	const floor, exact = 10 * time.Second, time.Minute
	for _, tc := range []struct {
		scan, sum, want time.Duration
	}{
		{0, 0, floor},
		{50 * time.Millisecond, 50 * time.Millisecond, floor},
		{200 * time.Millisecond, 0, 20 * time.Second},
		{200 * time.Millisecond, 300 * time.Millisecond, 40 * time.Second}, // 0.3/60 for the sums leaves 0.005
		{time.Second, 0, 100 * time.Second},
		{time.Second, time.Second, 200 * time.Second},
		{0, 6 * time.Second, 10 * time.Minute},
	} {
		got := period(tc.scan, tc.sum, 0.01, floor, exact)
		if d := got - tc.want; d > time.Millisecond || d < -time.Millisecond {
			t.Errorf("period(%v, %v) = %v, want %v", tc.scan, tc.sum, got, tc.want)
		}
	}
}

func TestTheWalksTakeTheirPartOfTheBudgetAtMost(t *testing.T) {
	if got := usagePeriod(time.Millisecond, 0.01, time.Second); got != time.Second {
		t.Errorf("a walk of 1 ms comes every %v, want every tick", got)
	}
	if got := usagePeriod(60*time.Millisecond, 0.01, time.Second); got != 15*time.Second {
		t.Errorf("a walk of 60 ms comes every %v, want 15 s", got)
	}
}
