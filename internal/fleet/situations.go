// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"slices"
	"time"
)

// This file holds the situations of the state table.

func situations() []situation {
	config := Config{
		Workers: 1, MaxStarting: 2, Surge: 1,
		StartTimeout: time.Minute, StopTimeout: 25 * time.Second, QuickTimeout: 5 * time.Second, KillEvery: 5 * time.Second,
		BackoffMin: time.Second / 2, BackoffMax: 30 * time.Second, RespawnEvery: time.Second / 2, RespawnBurst: 10,
		GiveUpAfter: 5, RollFailures: 3,
	}
	two := config
	two.Workers = 2
	first, second := ID{0, 1}, ID{1, 1}
	died := Exited{first, Exit{Code: 1}}
	later := 10 * time.Second

	loading := situation{name: "loading", state: New(config), id: first}
	spawning := loading.then("spawning", 0, Boot{})
	starting := spawning.then("starting", 0, Spawned{first, 1})
	ready := starting.then("ready", 0, Ready{first})
	stopping := ready.then("stopping", later, Stop{})
	beside := situation{state: New(two), id: first}.
		then("spawning, worker 1 is ready", 0, Boot{}, Spawned{second, 2}, Ready{second})
	again := ready.then("spawning, the one before had been ready", later, died)
	again.id.Incarnation++
	crashing := ready
	for range config.RespawnBurst {
		crashing = crashing.then("", 0, Exited{crashing.id, Exit{Code: 1}})
		crashing.id.Incarnation++
		crashing = crashing.then("ready, the eleventh at the same time", 0, Spawned{crashing.id, 1}, Ready{crashing.id})
	}
	fourFailed := spawning
	for fourFailed.state.FailedStarts < 4 {
		fourFailed = fourFailed.then("", fourFailed.now, SpawnFailed{ID: fourFailed.id})
		fourFailed = fourFailed.then("", fourFailed.state.Next(), Tick{})
		fourFailed.id.Incarnation++
	}
	fourFailed = fourFailed.then("starting, four starts before failed", fourFailed.now, Spawned{fourFailed.id, 5})

	return slices.Concat([]situation{
		loading,
		spawning,
		spawning.then("spawning, Ready came early", 0, Ready{first}).but("Spawned"),
		beside.but("SpawnFailed", "permanent SpawnFailed", "Exited"),
		again.but("permanent SpawnFailed"),
		starting,
		beside.then("starting, worker 1 is ready", 0, Spawned{first, 1}).but("Exited", "deadline"),
		fourFailed.but("Ready", "Exited"),
		ready,
		crashing.but("Exited"),
		starting.then("backoff", 0, died),
		starting.then("stopping, it started too slowly", time.Minute, Tick{}),
		spawning.then("stopping, not spawned yet", 0, Stop{}),
		stopping,
		ready.then("stopping, after Quit", later, Quit{}).but("Quit"),
		stopping.then("stopping, KILL sent", stopping.state.Next(), Tick{}),
		stopping.then("stopped", later, died),
	}, replacements(ready, beside))
}

// replacements are the situations of a worker that is replaced by another, in a fleet of one ready worker or of two.
func replacements(one, two situation) []situation {
	second, next := ID{1, 1}, ID{0, 2}
	two = two.then("", 0, Spawned{two.id, 1}, Ready{two.id})
	about := func(at situation, id ID) situation {
		at.id = id
		return at
	}
	surge0 := two
	surge0.state.Config.Surge = 0

	rolling := about(one.then("a roll, the new one was asked for", 0, RollOut{Reason: ReasonReload}), next)
	both := rolling.then("a roll, the new one starts", 0, Spawned{next, 2})
	failed := both.then("", 0, Exited{next, Exit{Code: 1}})
	again := about(failed.then("", failed.state.Next(), Tick{}), ID{0, 3})
	again = again.then("", again.now, Spawned{again.id, 3}, Exited{again.id, Exit{Code: 1}})
	third := about(again.then("", again.state.Next(), Tick{}), ID{0, 4})
	third = third.then("a roll, the third new one starts", third.now, Spawned{third.id, 4})
	replaced := both.then("a roll, the new one is ready", 0, Ready{next})
	ofTwo := about(two.then("", 0, RollOut{Reason: ReasonReload}), next)
	ofTwo = ofTwo.then("", 0, Spawned{next, 3}, Ready{next}, Exited{two.id, Exit{}})
	partly := about(ofTwo, ID{1, 2}).named("a roll, worker 0 is replaced, the new worker 1 was asked for")

	hung := one.then("", 0, Replace{one.id, ReasonWatchdog})
	recycling := about(two.then("ready, another is being replaced", 0, Replace{two.id, ReasonAge}), second)
	retiring := about(two.then("stopping, its slot was given up", 0, Scale{1}), second)

	return []situation{
		rolling.but("SpawnFailed", "permanent SpawnFailed"),
		both.but("Ready", "Exited", "deadline", "RollOut", "Scale to 2", "Stop", "Quit", "Kill"),
		about(both, one.id).named("a roll, the old one while the new one starts").but("Exited", "Replace (age)", "Replace (watchdog)"),
		about(failed, one.id).named("a roll, the new one failed: the old one").but("Exited", "deadline", "Replace (watchdog)", "Stop"),
		third.but("Ready", "Exited", "deadline"),
		about(replaced, one.id).named("a roll, the old one while the new one is ready").but("Exited", "deadline", "Scale to 2", "Stop"),
		replaced.but("Exited", "Replace (watchdog)"),
		partly.but("permanent SpawnFailed"),
		two.named("ready, one of two").but("RollOut", "Replace (age)", "Scale to 1"),
		recycling.but("Replace (age)", "Replace (watchdog)", "Exited"),
		about(hung, next).then("hung, the new one starts", 0, Spawned{next, 2}).but("Ready", "Exited", "deadline"),
		surge0.named("ready, one of two with a surge of 0").but("RollOut", "Replace (age)", "Replace (watchdog)"),
		retiring.but("Exited", "deadline", "Scale to 2"),
		retiring.then("stopped, its slot was given up", 0, Exited{second, Exit{}}).but("Scale to 2"),
	}
}
