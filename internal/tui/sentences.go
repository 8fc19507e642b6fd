// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package tui

// The sentences below the tables.

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/preforkd/preforkd/supervisor"
)

// width is what lines are broken at: a terminal has at least that.
const width = 80

// memory says what is held, what is saved, and against what.
func (p *page) memory(s *supervisor.Snapshot) {
	m := &s.Memory
	p.printf("\n")
	if m.Used == nil || m.Supervisor == nil {
		p.printf("Memory: data %s; what is used in all is not known.\n", bytes(&m.Data))
	} else {
		workers := *m.Used - m.Data - *m.Supervisor
		p.printf("Memory: %s used = data %s + workers %s + preforkd %s.\n",
			bytes(m.Used), bytes(&m.Data), bytes(&workers), bytes(m.Supervisor))
	}
	if !slices.ContainsFunc(s.Data, func(d supervisor.Data) bool { return d.LoadedAt != nil }) {
		return
	}
	saving := "saved " + bytes(m.Saved)
	if m.SavedRatio != nil {
		saving += fmt.Sprintf(" (%.1f %% of the %s without sharing)", 100**m.SavedRatio, bytes(m.WithoutSharing))
	}
	saving += ", saved_full " + bytes(m.SavedFull)
	if m.Copies != nil {
		saving += fmt.Sprintf(", %.2f copies of the data held", *m.Copies)
	}
	p.printf("%s\n", p.paint(bold, wrap("Sharing: "+saving+".")))
	if m.Counterfactual != "" {
		p.printf("%s\n", wrap(clean(m.Counterfactual)))
	}
}

// samples says how old the figures are and what they cost.
func (p *page) samples(s *supervisor.Snapshot) {
	youngest, oldest, exact, rows := math.Inf(1), 0.0, 0, 0
	for i := range s.Workers {
		w := &s.Workers[i]
		if w.PID == nil {
			continue
		}
		rows++
		if w.Sample.At == nil {
			continue
		}
		old := max(0, now(s).Sub(*w.Sample.At).Seconds())
		youngest, oldest = min(youngest, old), max(oldest, old)
		if w.Sample.Exact {
			exact++
		}
	}
	if rows == 0 {
		return
	}
	text := "Samples: none yet."
	if !math.IsInf(youngest, 1) {
		ages := duration(youngest)
		if oldest-youngest >= 1 {
			ages += " to " + duration(oldest)
		}
		text = fmt.Sprintf("Samples: %s old, %d of %d counted page by page; measuring has taken %.2f s of CPU time.",
			ages, exact, rows, s.Sampler.CPUSeconds)
	}
	p.printf("%s\n", wrap(text))
}

// notes says per worker what a cell cannot: why a value is missing, how the last process ended, what it says itself.
func (p *page) notes(s *supervisor.Snapshot) {
	told := map[int]bool{} // the last end is the slot's: both rows of one in replacement carry it
	for i := range s.Workers {
		w := &s.Workers[i]
		name := who(s, w)
		if w.Sample.Error != "" && w.PID != nil {
			p.printf("%s: %s is not known: %s\n", name, dash, clean(w.Sample.Error))
		}
		if w.StatusText != "" {
			p.printf("%s says: %s\n", name, clean(w.StatusText))
		}
		if e := w.LastExit; e != nil && !told[w.ID] {
			told[w.ID] = true
			p.printf("worker %d: %s, last end %s ago: %s (%s)\n", w.ID, restarts(w.RespawnCount),
				duration(now(s).Sub(e.At).Seconds()), ending(e), clean(e.Reason))
		}
	}
}

// who names a row's worker, with its pid where the slot has another row.
func who(s *supervisor.Snapshot, w *supervisor.Worker) string {
	rows := 0
	for i := range s.Workers {
		if s.Workers[i].ID == w.ID {
			rows++
		}
	}
	if rows > 1 && w.PID != nil {
		return fmt.Sprintf("worker %d (pid %d)", w.ID, *w.PID)
	}
	return fmt.Sprintf("worker %d", w.ID)
}

func restarts(n int) string {
	switch n {
	case 0:
		return "not restarted yet"
	case 1:
		return "restarted once"
	}
	return fmt.Sprintf("restarted %d times", n)
}

func ending(e *supervisor.Exit) string {
	switch {
	case e.OOM:
		return "killed by " + clean(e.Signal) + " while the kernel's OOM killer was at work"
	case e.Signal != "":
		return "killed by " + clean(e.Signal)
	}
	if e.Code == nil {
		return "never started"
	}
	return fmt.Sprintf("exit code %d", *e.Code)
}

// quantity is a number and its unit, which belong on one line.
var quantity = regexp.MustCompile(`(\d) (B|[KMGTPE]iB|%|s)\b`)

// wrap breaks text at spaces into lines of at most width characters.
func wrap(text string) string {
	var out strings.Builder
	line := 0
	for word := range strings.SplitSeq(quantity.ReplaceAllString(text, "$1\u00a0$2"), " ") {
		switch {
		case line == 0:
		case line+1+length(word) > width:
			out.WriteString("\n")
			line = 0
		default:
			out.WriteString(" ")
			line++
		}
		out.WriteString(word)
		line += length(word)
	}
	return strings.ReplaceAll(out.String(), "\u00a0", " ")
}
