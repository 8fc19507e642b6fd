// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package top

// What stands above the table: the instance, the saving, the operation under way, the datasets.

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/preforkd/preforkd/internal/tui"
	"github.com/preforkd/preforkd/supervisor"
)

// title is the first line: which instance, what it does, how many of its workers do what.
func (m *model) title() string {
	left := " preforkd top "
	if m.snapshot == nil {
		return m.style.title(left)
	}
	v := &m.snapshot.Supervisor
	left = m.style.title(fmt.Sprintf(" preforkd %s ", tui.Line(v.Name)))
	var counts []string
	for _, status := range []supervisor.Status{
		supervisor.StatusReady, supervisor.StatusStarting, supervisor.StatusStopping, supervisor.StatusBackoff,
	} {
		n := 0
		for i := range m.snapshot.Workers {
			if m.snapshot.Workers[i].Status == status {
				n++
			}
		}
		if n > 0 || status == supervisor.StatusReady {
			counts = append(counts, m.colored(status, fmt.Sprintf("%d %s", n, status)))
		}
	}
	right := strings.Join(counts, ", ")
	if m.paused {
		right = m.style.title(" PAUSED ") + " " + right
	}
	if m.lost != nil {
		return apart(left+"  "+m.style.red("no answer")+fmt.Sprintf(", pid %d", v.PID), right, m.width)
	}
	state := fmt.Sprintf("  %s for %s", tui.Line(string(v.State)), tui.Duration(v.Uptime))
	pid := fmt.Sprintf(", pid %d", v.PID)
	for _, more := range []string{pid + ", preforkd " + tui.Line(v.Version), pid} {
		if width(left)+width(state)+width(more)+2+width(right) <= m.width {
			return apart(left+state+more, right, m.width)
		}
	}
	if width(left)+width(state)+2+width(right) > m.width {
		state = "  " + tui.Line(string(v.State))
	}
	return apart(left+state, right, m.width)
}

// saving is the headline, and below it the same as a bar, or as a sentence where there is nothing to draw.
func (m *model) saving() (headline, below string) {
	s := m.snapshot
	headline, below = tui.Saving(s)
	memory := &s.Memory
	if memory.Saved == nil && m.saved != nil {
		headline += fmt.Sprintf(" (%s %s ago)", tui.Bytes(m.saved), tui.Duration(tui.Now(s).Sub(m.savedAt).Seconds()))
	}
	headline = m.style.bold(headline)
	if memory.Saved == nil || *memory.Saved <= 0 || memory.Used == nil || memory.WithoutSharing == nil {
		return headline, below
	}
	left, right := tui.Bytes(memory.Used)+" used ", " "+tui.Bytes(memory.WithoutSharing)+" without sharing"
	columns := m.width - width(left) - width(right)
	if columns < minBar {
		return headline, below
	}
	a, b, c := parts(*memory.Used-memory.Data, memory.Data, *memory.WithoutSharing, *memory.WithoutSharing, columns)
	return headline, left + m.style.private(strings.Repeat(full, a)) + m.style.share(strings.Repeat(shared, b)) +
		m.style.faint(strings.Repeat(claimed, c)) + right
}

// news is what is out of the ordinary: no answer, an operation under way, a reload that failed.
func (m *model) news() (lines []string) {
	if m.lost != nil {
		text := "No answer"
		if m.snapshot != nil {
			text += fmt.Sprintf(" for %s, the figures are as old", tui.Duration(m.now.Sub(m.seen).Seconds()))
		}
		lines = append(lines, m.style.red("✗ "+text+", trying again: "+line(m.lost.Error())))
	}
	if m.snapshot == nil {
		return lines
	}
	now := tui.Now(m.snapshot)
	if o := m.snapshot.Supervisor.Operation; o != nil && m.lost == nil {
		since := tui.Duration(now.Sub(o.StartedAt).Seconds())
		text := fmt.Sprintf("%s for %s, %s", tui.Line(o.Kind), since, tui.Operation(*o))
		drawn := ""
		if room := min(m.width-width(text)-3, maxBar/2); room >= minBar && o.Phase != "loading" {
			drawn = m.gauge(int64(o.Done), int64(o.Total), room) + " "
		}
		lines = append(lines, m.style.yellow("↻ ")+drawn+m.style.bold(text))
	}
	if r := m.snapshot.Supervisor.LastReload; r != nil && r.Result == supervisor.ReloadFailed {
		ago := tui.Duration(now.Sub(r.At).Seconds())
		lines = append(lines, m.style.red("✗ ")+fmt.Sprintf("reload failed %s ago: %s", ago, line(r.Error)))
	}
	return lines
}

// line makes text of several lines one.
func line(text string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(tui.Clean(text), "\n", " ")), " ")
}

// data are a head and a line for each version, of which rows may take height.
func (m *model) data(height int) []string {
	rows := slices.Clone(m.snapshot.Data)
	if len(rows) > height { // what moves is of more interest
		done := func(d supervisor.Data) bool { return d.LoadedAt != nil }
		moving := slices.DeleteFunc(slices.Clone(rows), done)
		rows = append(moving, slices.DeleteFunc(rows, func(d supervisor.Data) bool { return !done(d) })...)
	}
	name := 4
	for i := range rows {
		name = max(name, width(tui.Line(rows[i].Name)))
	}
	name = min(name, m.width/4)
	indent := strings.Repeat(" ", margin)
	head := indent + pad("DATA", name, true) + "  VER      SIZE  RESIDENT      HUGE  WORKERS  FORMAT"
	lines := []string{m.style.bold(head)}
	for i := range rows {
		if i == height-1 && len(rows) > height {
			lines = append(lines, m.style.faint(fmt.Sprintf("%s… and %d more", indent, len(rows)-i)))
			break
		}
		d := &rows[i]
		text := indent + pad(tui.Line(d.Name), name, true) + "  "
		if d.LoadedAt == nil {
			lines = append(lines, text+m.load(d, m.width-width(text)))
			continue
		}
		bytes := func(n *int64) string { return pad(tui.Bytes(n), 8, false) }
		lines = append(lines, text+fmt.Sprintf("%-3s  %s  %s  %s  %7d  %s",
			"v"+strconv.Itoa(d.Version), bytes(d.Size), bytes(d.Resident), bytes(d.Huge), d.Workers, kind(d)))
	}
	return lines
}

func kind(d *supervisor.Data) string {
	text := tui.Dash
	if d.Format != nil {
		text = tui.Line(*d.Format)
	}
	if d.Codec != "" {
		text += ", " + tui.Line(d.Codec)
	}
	if d.Direct {
		text += ", direct"
	}
	if d.Locked {
		text += ", locked"
	}
	return text
}

// amount is how much of a dataset has come, of its content where one knows how much that will be, else of its source; of is
// nil where neither is known.
func amount(d *supervisor.Data) (done int64, of *int64) {
	if d.Size == nil && d.SourceSize != nil {
		return d.Read, d.SourceSize
	}
	return d.Loaded, d.Size
}

// load is how far a dataset is loaded: a bar, the amount, the rate, the time left.
func (m *model) load(d *supervisor.Data, columns int) string {
	done, of := amount(d)
	text := " " + tui.Bytes(&done)
	if of != nil {
		text += " of " + tui.Bytes(of)
		if *of > 0 {
			text = fmt.Sprintf(" %3d %%", 100*min(done, *of) / *of) + text
		}
	}
	if rate := m.rates.of(loadOf(d.Name)); rate != nil {
		text += ", " + tui.Bytes(new(int64(*rate))) + "/s"
		if of != nil && *rate > 0 && *of > done {
			text += ", " + tui.Duration(float64(*of-done) / *rate) + " left"
		}
	}
	text = "loading" + text
	if room := min(columns-width(text)-1, 24); of != nil && *of > 0 && room >= minBar {
		text = m.gauge(done, *of, room) + " " + text
	}
	return text
}
