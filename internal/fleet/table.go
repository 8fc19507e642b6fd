// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"fmt"
	"slices"
	"time"
)

// This file writes the state table of ARCHITECTURE.md by running Step, so that it cannot be wrong about the code.

// situation is a fleet that got somewhere by a script, and the worker that the table's events are about.
type situation struct {
	name  string
	state State
	now   Time
	id    ID
	only  []string // the events that matter in a variant of another situation; empty: all
}

// row is one line of the table: events that do the same in one situation.
type row struct{ events, actions, then string }

// Table returns a Markdown table of what each event does in each situation of a worker, without holes: what is done, and
// what the fleet is then. A fleet has one slot unless the situation names worker 1, and preforkd's default times. A
// situation with a comma is a variant; where it leaves out an event, that does the same as in the plain one.
func Table() string {
	text := "| situation | event | actions | then |\n| --- | --- | --- | --- |\n"
	for _, at := range situations() {
		for _, r := range at.rows() {
			text += fmt.Sprintf("| %s | %s | %s | %s |\n", at.name, r.events, r.actions, r.then)
		}
	}
	return text
}

func (at situation) rows() []row {
	var rows []row
	unchanged := row{actions: "–", then: "no change"}
	for _, ev := range events(at.id) {
		if len(at.only) > 0 && !slices.Contains(at.only, ev.name) {
			continue
		}
		now := at.now
		if ev.deadline {
			now = at.state.Next()
		}
		if now == Never {
			continue
		}
		next, actions := Step(at.state, now, ev.event)
		r := row{ev.name, list(actions), next.Describe(now, 100*time.Millisecond)}
		same := slices.IndexFunc(rows, func(o row) bool { return o.actions == r.actions && o.then == r.then })
		switch {
		case len(actions) == 0 && r.then == at.state.Describe(now, 100*time.Millisecond):
			unchanged.events = join(unchanged.events, ev.name)
		case same >= 0:
			rows[same].events = join(rows[same].events, ev.name)
		default:
			rows = append(rows, r)
		}
	}
	if unchanged.events != "" {
		rows = append(rows, unchanged)
	}
	return rows
}

func list(actions []Action) string {
	text := ""
	for _, a := range actions {
		text = join(text, fmt.Sprint(a))
	}
	if text == "" {
		return "–"
	}
	return text
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + ", " + b
}

type tableEvent struct {
	name     string
	event    Event
	deadline bool // happens at the situation's next deadline
}

func events(id ID) []tableEvent {
	return []tableEvent{
		{name: "Boot", event: Boot{}},
		{name: "Spawned", event: Spawned{id, 100}},
		{name: "SpawnFailed", event: SpawnFailed{ID: id, Reason: "no memory"}},
		{name: "permanent SpawnFailed", event: SpawnFailed{ID: id, Permanent: true, Reason: "no such file"}},
		{name: "Ready", event: Ready{id}},
		{name: "Exited", event: Exited{id, Exit{Code: 1}}},
		{name: "deadline", event: Tick{}, deadline: true},
		{name: "Stop", event: Stop{}},
		{name: "Quit", event: Quit{}},
		{name: "Kill", event: Kill{}},
	}
}

func situations() []situation {
	config := Config{
		Workers: 1, MaxStarting: 2, Surge: 1,
		StartTimeout: time.Minute, StopTimeout: 25 * time.Second, QuickTimeout: 5 * time.Second, KillEvery: 5 * time.Second,
		BackoffMin: time.Second / 2, BackoffMax: 30 * time.Second, MinRespawn: time.Second, GiveUpAfter: 5,
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
	fourFailed := spawning
	for fourFailed.state.FailedStarts < 4 {
		fourFailed = fourFailed.then("", fourFailed.now, SpawnFailed{ID: fourFailed.id})
		fourFailed = fourFailed.then("", fourFailed.state.Next(), Tick{})
		fourFailed.id.Incarnation++
	}
	fourFailed = fourFailed.then("starting, four starts before failed", fourFailed.now, Spawned{fourFailed.id, 5})

	return []situation{
		loading,
		spawning,
		spawning.then("spawning, Ready came early", 0, Ready{first}).but("Spawned"),
		beside.but("SpawnFailed", "permanent SpawnFailed", "Exited"),
		again.but("permanent SpawnFailed"),
		starting,
		beside.then("starting, worker 1 is ready", 0, Spawned{first, 1}).but("Exited", "deadline"),
		fourFailed.but("Ready", "Exited"),
		ready,
		ready.then("ready, started 10 s ago", later).but("Exited"),
		starting.then("backoff", 0, died),
		starting.then("stopping, it started too slowly", time.Minute, Tick{}),
		spawning.then("stopping, not spawned yet", 0, Stop{}),
		stopping,
		ready.then("stopping, after Quit", later, Quit{}).but("Quit"),
		stopping.then("stopping, KILL sent", stopping.state.Next(), Tick{}),
		stopping.then("stopped", later, died),
	}
}

// then returns the situation after these events at time now.
func (at situation) then(name string, now Time, events ...Event) situation {
	at.name, at.now = name, now
	for _, ev := range events {
		at.state, _ = Step(at.state, now, ev)
	}
	return at
}

func (at situation) but(only ...string) situation {
	at.only = only
	return at
}
