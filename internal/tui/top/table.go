// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package top

// The table of the workers.

import (
	"fmt"
	"slices"
	"strings"

	"github.com/preforkd/preforkd/internal/tui"
	"github.com/preforkd/preforkd/supervisor"
)

const (
	margin = 2 // columns for the mark of the selection
	legend = " " + full + " private " + shared + " share " + claimed + " RSS"
)

// table is what is shown of the columns, and how wide.
type table struct {
	shown  []int // indices in columns
	widths []int
	gap    int
}

// fit chooses the columns that there is room for; the bar gets what is left.
func (m *model) fit(all []column, rows []row) table {
	widths, ranks := make([]int, len(all)), make([]int, len(all))
	for i, c := range all {
		widths[i], ranks[i] = max(c.width, width(c.name)+1), c.rank // room for the mark of the order
		if c.cell == nil {
			continue
		}
		for j := range rows {
			widths[i] = max(widths[i], width(c.cell(m, &rows[j])))
		}
		if c.sum != nil {
			widths[i] = max(widths[i], width(c.sum(m, rows)))
		}
		if c.optional && !slices.ContainsFunc(rows, func(r row) bool { return c.value(&r) != nil }) {
			ranks[i] = 0
		}
	}
	t := table{gap: 2}
	for i := range all {
		t.shown = append(t.shown, i)
	}
	taken := func(gap int) int {
		sum := margin + gap*(len(t.shown)-1)
		for _, i := range t.shown {
			sum += widths[i]
		}
		return sum
	}
	for len(t.shown) > 1 && taken(1) > m.width {
		last := slices.MinFunc(t.shown, func(a, b int) int { return ranks[a] - ranks[b] })
		t.shown = slices.DeleteFunc(t.shown, func(i int) bool { return i == last })
	}
	if taken(2) > m.width {
		t.gap = 1
	}
	if free := m.width - taken(t.gap); free > 0 {
		widths[bar] = min(widths[bar]+free, maxBar)
	}
	t.widths = widths
	return t
}

// workers are the lines of the table, of which rows may take height.
func (m *model) workers(rows []row, height int) []string {
	all := columns()
	t := m.fit(all, rows)
	var head []string
	for _, i := range t.shown {
		name := all[i].name
		if i == bar && width(name+legend) <= t.widths[i] {
			name += legend
		}
		if i == m.sort {
			name += m.arrow(all[i])
		}
		head = append(head, pad(name, t.widths[i], all[i].left))
	}
	lines := []string{m.style.bold(strings.Repeat(" ", margin) + strings.Join(head, strings.Repeat(" ", t.gap)))}
	at := m.find(rows)
	m.offset = min(max(m.offset, at-height+1), at, max(0, len(rows)-height))
	m.offset = max(m.offset, 0)
	most := int64(0)
	for i := range rows {
		if n := rows[i].RSS; n != nil {
			most = max(most, *n)
		}
	}
	for i := m.offset; i < min(len(rows), m.offset+height); i++ {
		lines = append(lines, m.line(all, t, &rows[i], most, i == at))
	}
	return lines
}

func (m *model) arrow(c column) string {
	if c.up != m.reversed {
		return "▲"
	}
	return "▼"
}

func (m *model) line(all []column, t table, r *row, most int64, selected bool) string {
	mark := strings.Repeat(" ", margin)
	if selected {
		mark = "▶ "
	}
	var cells []string
	for _, i := range t.shown {
		if i == bar {
			cells = append(cells, pad(m.memoryBar(r.Worker, most, t.widths[i]), t.widths[i], true))
			continue
		}
		cell := pad(all[i].cell(m, r), t.widths[i], all[i].left)
		switch {
		case i == byStatus:
			cell = m.colored(r.Status, cell)
		case selected:
			cell = m.style.bold(cell)
		}
		cells = append(cells, cell)
	}
	return m.style.bold(mark) + strings.Join(cells, strings.Repeat(" ", t.gap))
}

func (m *model) colored(s supervisor.Status, text string) string {
	switch s {
	case supervisor.StatusReady:
		return m.style.green(text)
	case supervisor.StatusStarting, supervisor.StatusStopping:
		return m.style.yellow(text)
	case supervisor.StatusBackoff:
		return m.style.red(text)
	}
	return text
}

// sum is the line below the rows. Where they are not all shown it begins with which they are.
func (m *model) sum(rows []row, height int) string {
	all := columns()
	t := m.fit(all, rows)
	space := strings.Repeat(" ", t.gap)
	line := strings.Repeat(" ", margin)
	for _, i := range t.shown {
		text := ""
		switch {
		case i == byStatus:
			if len(rows) > height {
				text = fmt.Sprintf("%d–%d/%d", m.offset+1, min(m.offset+height, len(rows)), len(rows))
				line = pad("  "+text, max(0, width(line)-t.gap), true) + space
			}
			text = "sum"
		case all[i].sum != nil:
			text = all[i].sum(m, rows)
		}
		line += pad(text, t.widths[i], all[i].left) + space
	}
	return m.style.faint(strings.TrimRight(line, " "))
}

// about tells of the selected worker what the table has no room for.
func (m *model) about(rows []row) []string {
	if len(rows) == 0 {
		return nil
	}
	r := &rows[m.find(rows)]
	text := m.style.bold(fmt.Sprintf("worker %d", r.ID))
	if r.PID == nil {
		return []string{text + " waits for its next start", m.said(r.Worker)}
	}
	text += ": "
	all := columns()
	shown := m.fit(all, rows).shown
	for i, c := range all {
		if c.cell != nil && i != byAge && !slices.Contains(shown, i) {
			text += fmt.Sprintf("%s %s, ", c.name, c.cell(m, r))
		}
	}
	text += fmt.Sprintf("swap %s, page tables %s, threads %s, fds %s",
		m.bytes(r.Swap), m.bytes(r.PageTables), whole(r.Threads), whole(r.FDs))
	return []string{text, m.said(r.Worker)}
}

// said is what else there is to say of a worker: why a figure is missing comes first.
func (m *model) said(w *supervisor.Worker) string {
	var parts []string
	if w.PID != nil && w.Sample.Error != "" {
		parts = append(parts, m.style.yellow(tui.Dash+" is not known: "+tui.Line(w.Sample.Error)))
	}
	if w.Replacing != "" {
		parts = append(parts, "↻ to be replaced: "+tui.Line(w.Replacing))
	}
	if w.StatusText != "" {
		parts = append(parts, "says: "+tui.Line(w.StatusText))
	}
	if len(w.InPlace) > 0 {
		parts = append(parts, "takes in place: "+tui.Line(strings.Join(w.InPlace, " ")))
	}
	if age := tui.SampleAge(m.snapshot, w); age != nil {
		how := "~ not counted page by page"
		if w.Sample.Exact {
			how = "counted page by page"
		}
		parts = append(parts, fmt.Sprintf("figures %s old, %s", tui.Duration(*age), how))
	}
	return "  " + strings.Join(parts, "; ")
}

func whole(n *int) string {
	if n == nil {
		return tui.Dash
	}
	return fmt.Sprint(*n)
}
