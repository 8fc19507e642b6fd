// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package top

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"

	"github.com/preforkd/preforkd/internal/api/apitest"
	"github.com/preforkd/preforkd/supervisor"
)

func TestEachColumnSortsByItsKeyAndTheOtherWayByTheSameAgain(t *testing.T) {
	const n = 9
	g := open(t, crowd(n), 200, 60, false)
	for range 3 { // rates need more than one look
		g.instance.view = later(g.instance.view, 3)
		g.tick()
	}
	for _, c := range columns() {
		if c.key == "" {
			continue
		}
		if c.key != "i" { // which it is sorted by at the start
			g.press(c.key)
		}
		marks := map[bool]string{true: "▲", false: "▼"}
		for _, up := range []bool{c.up, !c.up} {
			g.line(c.name + marks[up])
			var known []float64
			rows, ended := g.rows(), false
			for i := range rows {
				value := c.value(&rows[i])
				switch {
				case value == nil:
					ended = true
				case ended:
					t.Errorf("%s: a row that is known stands below one that is not", c.name)
				default:
					known = append(known, *value)
				}
			}
			if !up {
				slices.Reverse(known)
			}
			if len(known) < n/2 || !slices.IsSorted(known) {
				t.Errorf("%s%s sorts as %v", c.name, marks[up], known)
			}
			ids, _ := g.ids()
			for i := range rows {
				if ids[i] != fmt.Sprint(rows[i].ID) {
					t.Fatalf("%s: the screen shows %v", c.name, ids)
				}
			}
			g.press(c.key)
		}
	}
}

func TestKeysOfColumnsAreDistinctAndFree(t *testing.T) {
	seen := map[string]bool{"q": true, "?": true, "r": true, "R": true, "p": true, "y": true}
	for _, c := range columns() {
		if c.key != "" && seen[c.key] || len(c.key) > 1 {
			t.Errorf("the key %q of %s is taken, or more than one", c.key, c.name)
		}
		seen[c.key] = true
	}
}

func TestTheSelectionStaysWithItsWorker(t *testing.T) {
	g := open(t, crowd(5), 100, 30, false)
	g.press("<down>")
	if ids, at := g.ids(); at != "1" {
		t.Fatalf("%s is selected of %v", at, ids)
	}
	g.press("v") // sorts the largest first
	if ids, at := g.ids(); at != "1" || ids[3] != "1" {
		t.Errorf("%s is selected of %v", at, ids)
	}
	// It is replaced: the one in its slot is selected.
	next := crowd(5)
	next.Workers[1].Incarnation, next.Workers[1].PID, next.Workers[1].Private = 2, new(777), new(int64(1)<<40)
	g.instance.view = next
	g.tick()
	if ids, at := g.ids(); at != "1" || ids[0] != "1" {
		t.Errorf("after a replacement %s is selected of %v", at, ids)
	}
	// While both live, the old one stays selected.
	both := crowd(5)
	replacement := both.Workers[1]
	replacement.Incarnation, replacement.Status, replacement.PID = 3, supervisor.StatusStarting, new(778)
	both.Workers[1].Incarnation = 2
	both.Workers = append(both.Workers, replacement)
	g.instance.view = both
	g.tick()
	if g.selected != (place{1, 2}) {
		t.Errorf("%v is selected", g.selected)
	}
	// Its slot is gone: what stood next.
	fewer := crowd(5)
	fewer.Workers = slices.Delete(fewer.Workers, 1, 2)
	g.instance.view = fewer
	g.tick()
	if ids, at := g.ids(); at == "" || at == "1" {
		t.Errorf("after the end of its slot %q is selected of %v", at, ids)
	}
	g.instance.view = apitest.Loading()
	g.tick()
	g.press("<down>r<up>")
	g.has("no worker yet")
}

func TestManyWorkersScroll(t *testing.T) {
	g := open(t, crowd(256), 80, 24, false)
	height := g.tableHeight()
	for _, c := range []struct{ keys, want string }{
		{"", "0"},
		{"<up>", "0"},
		{"<down><down>", "2"},
		{"<pgdown>", fmt.Sprint(2 + height - 1)},
		{"<end>", "255"},
		{"<down>", "255"},
		{"<pgup>", fmt.Sprint(255 - height + 1)},
		{"<home>", "0"},
	} {
		g.press(c.keys)
		if ids, at := g.ids(); at != c.want || len(ids) != height {
			t.Errorf("after %q %q is selected of %v", c.keys, at, ids)
		}
	}
	g.press("<end>")
	g.has(fmt.Sprintf("%d–256/256", 256-height+1))
}

func TestARestartIsAskedAboutAndDoesNotBlockTheScreen(t *testing.T) {
	g := open(t, crowd(3), 80, 24, false)
	for _, no := range []string{"n", "<esc>", "q", "r"} {
		g.press("<home><down>r")
		g.has("Restart worker 1 (pid")
		if cmd := g.press(no); cmd != nil || len(g.instance.orders) > 0 {
			t.Fatalf("after %q: %q", no, g.instance.orders)
		}
		g.lacks("Restart worker")
	}
	g.instance.answer = func(progress func(supervisor.Operation)) (string, error) {
		progress(supervisor.Operation{Kind: "restart", Phase: "rolling", Total: 1})
		progress(supervisor.Operation{Kind: "restart", Phase: "rolling", Total: 1, FailedStarts: 1})
		return "1 worker replaced", nil
	}
	g.press("r")
	cmd := g.press("y")
	if cmd == nil || len(g.instance.orders) > 0 {
		t.Fatal("the order is not left to a command")
	}
	g.has("↻ restart of worker 1 was asked for")
	g.press("<down>v") // all other keys do what they do
	g.has("PRIVATE▼")
	g.press("r")
	g.has("The restart of worker 1 is still under way.")
	g.press("<up>")
	done := cmd()
	if !slices.Equal(g.instance.orders, []string{"restart [1]"}) {
		t.Errorf("orders: %q", g.instance.orders)
	}
	for i, want := range []string{"rolling: 0 of 1 worker replaced", "1 failed start in a row"} {
		g.Update(g.sent[i])
		g.has(want)
	}
	next := crowd(3)
	next.Workers[1].PID = new(4242)
	g.instance.view = next
	_, look := g.Update(done)
	g.has("✓ 1 worker replaced")
	_, again := g.Update(look())
	if g.has("4242"); again != nil {
		t.Error("a second chain of ticks begins")
	}
	g.press("<down>")
	g.lacks("✓")
}

func TestAnOrderThatFailsIsToldWithItsLastWords(t *testing.T) {
	g := open(t, crowd(3), 80, 24, false)
	g.instance.answer = func(func(supervisor.Operation)) (string, error) {
		return "", errors.New("cannot reload: worker 0 exited with code 1; its last words:\nTraceback\n" +
			strings.Repeat("  more\n", 20) + "ImportError: boom")
	}
	g.press("R")
	g.has("Reload: configuration, data and code anew")
	g.Update(g.press("y")())
	g.has("✗ cannot reload: worker 0 exited with code 1")
	g.has("ImportError: boom")
	if lines := g.lines(); len(lines) != 24 {
		t.Errorf("%d lines", len(lines))
	}
	if ids, _ := g.ids(); len(ids) != 3 {
		t.Errorf("the workers are no longer shown:\n%s", g.text())
	}
}

func TestAPauseStandsStillAndGoesOn(t *testing.T) {
	g := open(t, crowd(3), 80, 24, false)
	g.press("p")
	g.has("PAUSED")
	g.instance.view = crowd(2)
	g.tick()
	if ids, _ := g.ids(); len(ids) != 3 {
		t.Errorf("in a pause: %v", ids)
	}
	// An answer that was on its way.
	g.Update(statsMsg{snapshot: g.instance.view})
	if ids, _ := g.ids(); len(ids) != 3 {
		t.Errorf("in a pause: %v", ids)
	}
	g.press("p")
	g.tick()
	if ids, _ := g.ids(); len(ids) != 2 {
		t.Errorf("after it: %v", ids)
	}
	g.lacks("PAUSED")
}

func TestAnInstanceThatGoesAwayIsSaidAndComesBack(t *testing.T) {
	first := crowd(3)
	g := open(t, nil, 120, 24, false)
	g.has("No answer, trying again: cannot reach preforkd")
	g.instance.view = first
	g.tick()
	g.lacks("No answer")
	g.instance.view = later(first, 5)
	g.tick()
	g.has("2.0") // CPU % of worker 2
	g.instance.view = nil
	for range 3 {
		g.tick()
	}
	g.has("✗ No answer for 3s, the figures are as old, trying again: cannot reach preforkd at /run/x/control.sock: connection")
	if ids, _ := g.ids(); len(ids) != 3 {
		t.Errorf("what was seen last is gone: %v", ids)
	}
	other := crowd(3)
	other.Supervisor.PID, other.Supervisor.StartedAt = 9999, first.Supervisor.StartedAt.AddDate(0, 0, 1)
	other.Workers[2].CPUSeconds, other.Memory.Saved = new(1000.0), nil
	g.instance.view = other
	g.tick()
	g.has("pid 9999")
	g.has("What sharing saves is not known")
	g.lacks("ago)")
	g.lacks("No answer")
	if g.rates.of(cpuOf{2, 1, *other.Workers[2].PID}) != nil {
		t.Error("a rate is taken over two instances")
	}
}

func TestQuit(t *testing.T) {
	for _, keys := range []string{"q", "<ctrl+c>", "r<ctrl+c>", "?<ctrl+c>"} {
		g := open(t, crowd(2), 80, 24, false)
		cmd := g.press(keys)
		if cmd == nil {
			t.Fatalf("%q does not quit", keys)
		}
		if _, ok := cmd().(tea.QuitMsg); !ok {
			t.Errorf("%q does not quit", keys)
		}
	}
	g := open(t, crowd(2), 80, 24, false)
	if cmd := g.press("?q"); cmd != nil {
		t.Error("a key that leaves the help does something else too")
	}
}
