// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"runtime/debug"
	"slices"
	"testing"
)

// This file says which fleets the explorer explores, each under the observer and, from a part of the states, into its
// futures.

// exploration is one fleet, what happens to it beside news and Stop, and how much is looked at.
type exploration struct {
	name string
	rules
	futures int  // they are run at each how many-th state
	race    bool // small enough for the race detector
}

func TestEveryReachableStateKeepsThePromises(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // a quarter faster
	for _, e := range explorations() {
		t.Run(e.name, func(t *testing.T) {
			if raceEnabled && !e.race {
				t.Skip("left to the run without the race detector")
			}
			states, runs := 0, 0
			seen, err := explore(e.rules, func(n *node) error {
				if states++; states%e.futures != 0 {
					return nil
				}
				did, err := runFutures(n)
				runs += did
				return err
			})
			t.Logf("%+v, %d futures", seen, runs)
			if err != nil {
				t.Fatal(err)
			}
			isRoll := func(ev Event) bool { _, is := ev.(RollOut); return is }
			replaces := len(e.reasons) > 0 || slices.ContainsFunc(e.calls, isRoll)
			if e.Surge > 0 && replaces && seen.twoReady == 0 {
				t.Error("no state with a ready worker and another beside it was seen")
			}
		})
	}
}

func explorations() []exploration {
	slow := Config{
		StartTimeout: 3, StopTimeout: 2, QuickTimeout: 1, KillEvery: 1,
		BackoffMin: 1, BackoffMax: 2, RespawnEvery: 2, RespawnBurst: 1, GiveUpAfter: 3, RollFailures: 2,
	}
	brisk := Config{
		StartTimeout: 2, StopTimeout: 1, QuickTimeout: 1, KillEvery: 1,
		BackoffMin: 1, BackoffMax: 2, RespawnEvery: 1, RespawnBurst: 1, GiveUpAfter: 3, RollFailures: 2,
	}
	quick := Config{
		StartTimeout: 1, StopTimeout: 1, QuickTimeout: 1, KillEvery: 1,
		BackoffMin: 1, BackoffMax: 1, RespawnEvery: 1, GiveUpAfter: 2, RollFailures: 1,
	}
	noTime := quick
	noTime.StopTimeout, noTime.GiveUpAfter, noTime.RollFailures = 0, 3, 2

	of := func(c Config, slots, starting, surge int) Config {
		c.Workers, c.MaxStarting, c.Surge = slots, starting, surge
		return c
	}
	reload := RollOut{Reason: ReasonReload}
	one := RollOut{Reason: ReasonRestart, Slots: []int{1}}
	to := func(c Config, slots, surge int) RollOut {
		c = of(c, slots, slots, surge)
		return RollOut{Reason: ReasonReload, Config: &c}
	}
	type calls = []Event
	type reasons = []Reason
	limits := reasons{ReasonAge, ReasonWatchdog}
	all := calls{Quit{}, Kill{}, reload, Scale{0}, Scale{1}}

	return []exploration{
		// One slot with everything; two as long as nobody replaces anything.
		{"1 slot", rules{Config: of(quick, 1, 1, 1), calls: all[1:], reasons: limits}, 16, false},
		{"1 slot, slow", rules{Config: of(slow, 1, 1, 1), calls: all, reasons: limits, jump: true, lean: true}, 16, true},
		{"1 slot, surge 0", rules{Config: of(quick, 1, 1, 0), calls: all[:3], reasons: limits, jump: true}, 1, true},
		{"2 slots, 1 starts", rules{Config: of(quick, 2, 1, 1), calls: all[:2], jump: true}, 8, false},
		{"2 slots, 2 start", rules{Config: of(quick, 2, 2, 1), calls: all[:2], jump: true}, 8, false},

		// Two slots, each with a part of what replaces workers.
		{"rolls", rules{Config: of(brisk, 2, 1, 1), calls: calls{reload, one}, lean: true}, 16, false},
		{"rolls, surge 0", rules{Config: of(brisk, 2, 2, 0), calls: calls{reload, one}, reasons: limits, lean: true}, 8, true},
		{"rolls, surge 2", rules{Config: of(quick, 2, 2, 2), calls: calls{reload}, reasons: limits[:1], lean: true}, 16, false},
		{"rolls, limits", rules{Config: of(quick, 2, 2, 1), calls: calls{reload}, reasons: limits, lean: true}, 16, false},
		{"limits", rules{Config: of(brisk, 2, 2, 1), reasons: limits, lean: true}, 16, false},
		{"scale", rules{Config: of(quick, 2, 2, 1), calls: calls{reload, Scale{1}, Scale{2}}, lean: true}, 8, false},
		{"new rules", rules{
			Config: of(quick, 1, 2, 1), calls: calls{to(quick, 1, 0), to(quick, 2, 1), Scale{1}}, reasons: limits[:1], lean: true,
		}, 32, false},
		{"new rules, surge 0", rules{
			Config: of(quick, 2, 2, 0), calls: calls{to(brisk, 1, 0), to(quick, 2, 0)}, reasons: reasons{ReasonMemory}, lean: true,
		}, 8, false},
		{"no time to stop", rules{
			Config: of(noTime, 2, 2, 1), calls: calls{reload, Scale{1}, Scale{2}}, reasons: limits[1:], lean: true,
		}, 32, false},
		{"no time to stop, surge 0", rules{Config: of(noTime, 2, 2, 0), calls: calls{reload}, reasons: limits, lean: true}, 8, true},
	}
}
