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
// what the fleet is then. A fleet has one slot unless two workers are named, and preforkd's default times. A situation with
// a comma is a variant: it shows the events that matter there.
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
		{name: "RollOut", event: RollOut{Reason: ReasonReload}},
		{name: "Replace (age)", event: Replace{id, ReasonAge}},
		{name: "Replace (watchdog)", event: Replace{id, ReasonWatchdog}},
		{name: "Scale to 1", event: Scale{1}},
		{name: "Scale to 2", event: Scale{2}},
		{name: "Stop", event: Stop{}},
		{name: "Quit", event: Quit{}},
		{name: "Kill", event: Kill{}},
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

func (at situation) named(name string) situation {
	at.name = name
	return at
}

func (at situation) but(only ...string) situation {
	at.only = only
	return at
}
