// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// What no row may ever say, whenever it is read: the tiers are of different moments while the processes go on, and the
// budget leaves some of them behind. PREFORKD_TEST_STEPS and PREFORKD_TEST_SEED are those of the exact test.

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

func TestNoFigureIsImpossibleWhileTheFleetMoves(t *testing.T) {
	begun := time.Now()
	steps, seed := setting(t, "PREFORKD_TEST_STEPS", 0), setting(t, "PREFORKD_TEST_SEED", begun.UnixNano())
	t.Logf("PREFORKD_TEST_SEED=%d", seed)
	f := &fleetUnderTest{t: t, random: rand.New(rand.NewPCG(uint64(seed), 1)), books: openBooks(t)}
	f.addSources()
	f.sampler = newTestSampler(t)
	f.sampler.options.Budget = 0.0002
	for i := range 4 {
		f.trees = append(f.trees, nil)
		f.startBusy(i)
	}
	figures, behind := 0, 0
	step := int64(0)
	for ; step < steps || steps == 0 && step < exactSteps && time.Since(begun) < exactTime; step++ {
		what := f.act()
		fleet := f.sampler.after(time.Duration(f.random.IntN(4)) * time.Second)
		for _, w := range f.sampler.workers {
			if !w.scanned.Equal(f.sampler.now) {
				behind++
			}
		}
		figures += f.possible(fleet)
		if t.Failed() {
			t.Fatalf("step %d, behind: %s", step, what)
		}
	}
	t.Logf("%d steps, %d relations hold, %d rows were older than their T0", step, figures, behind)
	if behind == 0 {
		t.Error("no row was ever behind: this has proven nothing")
	}
}

// possible checks one view and returns how many relations it looked at.
func (f *fleetUnderTest) possible(fleet *Fleet) (looked int) {
	f.t.Helper()
	const slack = 64 << 10 // the kernel's cuts, and its counters of RSS, which lag a little
	atMost := func(who, what string, a *int64, than string, b *int64) {
		f.t.Helper()
		if a == nil || b == nil {
			return
		}
		if looked++; *a > *b+slack {
			f.t.Errorf("%s: %s %d > %s %d", who, what, *a, than, *b)
		}
	}
	shares := map[SegKey]*int64{}
	for _, w := range f.trees {
		row := fleet.Workers[w.target.Key]
		if row == nil {
			continue
		}
		who := fmt.Sprintf("worker %d %v", w.target.Worker, w.pids())
		if len(row.PIDs) == 1 {
			atMost(who, "private", row.Private, "uss", row.USS)
		}
		atMost(who, "private", row.Private, "pss", row.PSS)
		atMost(who, "uss", row.USS, "pss", row.PSS)
		for _, d := range row.Data {
			atMost(who, "data pss", d.PSS, "data rss", d.RSS)
			atMost(who, "cow", d.COW, "data pss", d.PSS)
			key := SegKey{d.Name, d.Version}
			if shares[key] == nil {
				shares[key] = new(int64)
			}
			if d.PSS != nil && d.COW != nil {
				*shares[key] += *d.PSS - *d.COW
			}
		}
	}
	for key, sum := range shares {
		held := fleet.Allocated[key]
		atMost("all", "shares of "+key.Name, sum, "allocated", &held)
	}
	return looked
}
