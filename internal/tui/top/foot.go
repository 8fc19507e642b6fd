// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package top

// What stands below the table: the selected worker, how workers ended, and a line for questions, results and keys.

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/preforkd/preforkd/internal/tui"
	"github.com/preforkd/preforkd/supervisor"
)

// endings are how the last processes of the slots ended, the newest first.
func (m *model) endings() (lines []string) {
	slots := map[int]bool{} // both rows of a slot in replacement carry its last end
	var ended []*supervisor.Worker
	for i := range m.snapshot.Workers {
		if w := &m.snapshot.Workers[i]; w.LastExit != nil && !slots[w.ID] {
			slots[w.ID] = true
			ended = append(ended, w)
		}
	}
	slices.SortStableFunc(ended, func(a, b *supervisor.Worker) int {
		return cmp.Compare(b.LastExit.At.UnixNano(), a.LastExit.At.UnixNano())
	})
	for _, w := range ended {
		e := w.LastExit
		ago := tui.Duration(tui.Now(m.snapshot).Sub(e.At).Seconds())
		text := fmt.Sprintf("worker %d, %s: %s", w.ID, tui.Line(e.Reason), tui.Ending(e))
		if unasked(e) {
			text = m.style.red("✗") + " " + text
		} else {
			text = "· " + text
		}
		lines = append(lines, pad(ago+" ago", 12, false)+"  "+text)
	}
	return lines
}

// unasked tells whether nobody had asked for that end.
func unasked(e *supervisor.Exit) bool {
	switch e.Reason {
	case "crash", "start-timeout", "stop-timeout", "spawn-failed", "watchdog":
		return true
	}
	return e.OOM
}

// foot is the last line, or lines when a result has several.
func (m *model) foot() []string {
	o := &m.order
	switch {
	case o.question != "":
		return []string{m.style.title(" "+o.question+" ") + " y yes, any other key no"}
	case len(o.result) > 0:
		mark := m.style.green("✓ ")
		if o.failed {
			mark = m.style.red("✗ ")
		}
		lines := slices.Clone(o.result)
		if most := max(1, m.height/4); len(lines) > most { // the last words of a worker say most at their end
			lines = append(lines[:1], lines[len(lines)-most+1:]...)
		}
		lines[0] = mark + m.style.bold(lines[0])
		for i := 1; i < len(lines); i++ {
			lines[i] = "  " + lines[i]
		}
		return lines
	case o.running:
		return []string{m.style.yellow("↻ ") + m.style.bold(o.name) + " " + o.step}
	}
	return []string{m.keys()}
}

func (m *model) keys() string {
	var text, letters strings.Builder
	for _, k := range [][2]string{
		{"q", "quit"}, {"?", "help"}, {"↑↓", "select"}, {"r", "restart"}, {"R", "reload"}, {"p", "pause"},
	} {
		text.WriteString(m.style.bold(k[0]) + " " + k[1] + "  ")
	}
	for _, c := range columns() {
		letters.WriteString(c.key)
	}
	return text.String() + "sort " + m.style.bold(letters.String())
}
