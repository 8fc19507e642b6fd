// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package top

// The screen as a whole: what it holds at each size.

import (
	"strings"

	tea "charm.land/bubbletea/v2"
)

// View implements tea.Model. It returns at most as many lines as the screen has, none wider than it.
func (m *model) View() tea.View {
	lines := m.lines()
	if m.help {
		lines = m.explain()
	}
	if len(lines) > m.height {
		lines = lines[:max(0, m.height)]
	}
	for i := range lines {
		lines[i] = cut(lines[i], m.width)
	}
	view := tea.NewView(strings.Join(lines, "\n"))
	view.AltScreen = true
	return view
}

// plan is how many lines each part gets.
type plan struct {
	headline, below, news, data, rows, sum, about, endings int
	blanks                                                 bool
}

// lines are the screen from top to bottom, all of its height.
func (m *model) lines() []string {
	foot := m.foot()
	if m.snapshot == nil {
		lines := append([]string{m.title()}, m.news()...)
		if m.lost == nil {
			lines = append(lines, "Asking for the first figures …")
		}
		return m.fill(lines, foot)
	}
	rows, news, endings := m.rows(), m.news(), m.endings()
	p := m.plan(len(rows), len(foot), len(news), len(endings))
	lines := []string{m.title()}
	headline, below := m.saving()
	if p.headline > 0 {
		lines = append(lines, headline)
	}
	if p.below > 0 {
		lines = append(lines, below)
	}
	lines = append(lines, news[:p.news]...)
	blank := func() {
		if p.blanks {
			lines = append(lines, "")
		}
	}
	if p.data > 0 {
		blank()
		lines = append(lines, m.data(p.data-1)...)
	}
	blank()
	if len(rows) == 0 {
		lines = append(lines, m.style.faint("  no worker yet"))
	} else {
		lines = append(lines, m.workers(rows, p.rows)...)
	}
	if p.sum > 0 {
		lines = append(lines, m.sum(rows, p.rows))
	}
	blank()
	if p.about > 0 {
		lines = append(lines, m.about(rows)[:p.about]...)
	}
	return m.fill(append(lines, endings[:p.endings]...), foot)
}

// plan shares the height out: first what makes the screen one, then what tells most; what is left goes to the rows, then to
// the rest of everything.
func (m *model) plan(rows, foot, news, endings int) plan {
	var p plan
	left := m.height - 1 - foot - 1 // the title, the foot, the head of the table
	take := func(part *int, n int) {
		if n > 0 && n <= left {
			*part += n
			left -= n
		}
	}
	some := func(part *int, n int) { take(part, min(n, left)) }
	some(&p.rows, min(rows, max(3, left/3)))
	take(&p.headline, 1)
	some(&p.news, news)
	take(&p.below, 1)
	versions := len(m.snapshot.Data)
	if versions > 0 {
		take(&p.data, 1+min(versions, max(1, m.height/6)))
	}
	if rows > 1 {
		take(&p.sum, 1)
	}
	if rows > 0 {
		take(&p.about, 2)
	}
	some(&p.endings, min(endings, 2))
	spaces := 0
	take(&spaces, 3)
	p.blanks = spaces > 0
	some(&p.rows, rows-p.rows)
	some(&p.endings, min(endings-p.endings, 10))
	if p.data > 0 {
		some(&p.data, 1+versions-p.data)
	}
	return p
}

// fill puts the foot at the bottom.
func (m *model) fill(lines, foot []string) []string {
	for len(lines)+len(foot) < m.height {
		lines = append(lines, "")
	}
	return append(lines[:max(0, min(len(lines), m.height-len(foot)))], foot...)
}

// tableHeight is how many rows of the table are shown.
func (m *model) tableHeight() int {
	if m.snapshot == nil {
		return 1
	}
	return m.plan(len(m.snapshot.Workers), len(m.foot()), len(m.news()), len(m.endings())).rows
}
