// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package tui

// The sentences below the tables.

import (
	"fmt"
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
		p.printf("Memory: data %s; what is used in all is not known.\n", Bytes(&m.Data))
	} else {
		workers := *m.Used - m.Data - *m.Supervisor
		p.printf("Memory: %s used = data %s + workers %s + preforkd %s.\n",
			Bytes(m.Used), Bytes(&m.Data), Bytes(&workers), Bytes(m.Supervisor))
	}
	if !slices.ContainsFunc(s.Data, func(d supervisor.Data) bool { return d.LoadedAt != nil }) {
		return
	}
	saving := "saved " + Bytes(m.Saved)
	if m.SavedRatio != nil {
		saving += fmt.Sprintf(" (%.1f %% of the %s without sharing)", 100**m.SavedRatio, Bytes(m.WithoutSharing))
	}
	saving += ", saved_full " + Bytes(m.SavedFull)
	if m.Copies != nil {
		saving += fmt.Sprintf(", %.2f copies of the data held", *m.Copies)
	}
	p.printf("%s\n", p.paint(bold, wrap("Sharing: "+saving+".")))
	if m.Counterfactual != "" {
		p.printf("%s\n", wrap(Line(m.Counterfactual)))
	}
}

// samples says how old the figures are and what they cost.
func (p *page) samples(s *supervisor.Snapshot) {
	m := measure(s)
	if m.live == 0 {
		return
	}
	text := "Samples: none yet."
	if m.sampled > 0 {
		text = fmt.Sprintf("Samples: %s old, %d of %d counted page by page; measuring has taken %.2f s of CPU time.",
			m.ages(), m.exact, m.live, s.Sampler.CPUSeconds)
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
			p.printf("%s: %s is not known: %s\n", name, Dash, Line(w.Sample.Error))
		}
		if w.StatusText != "" {
			p.printf("%s says: %s\n", name, Line(w.StatusText))
		}
		if e := w.LastExit; e != nil && !told[w.ID] {
			told[w.ID] = true
			p.printf("worker %d: %s, last end %s ago: %s (%s)\n", w.ID, restarts(w.RespawnCount),
				Duration(Now(s).Sub(e.At).Seconds()), Ending(e), Line(e.Reason))
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

// Ending says how a process ended: "killed by SIGSEGV".
func Ending(e *supervisor.Exit) string {
	switch {
	case e.OOM:
		return "killed by " + Line(e.Signal) + " while the kernel's OOM killer was at work"
	case e.Signal != "":
		return "killed by " + Line(e.Signal)
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
