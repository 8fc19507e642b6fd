// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package top

// What keys do.

import (
	"fmt"
	"strconv"

	tea "charm.land/bubbletea/v2"
)

// press takes a key by its name in bubbletea: "r", "R", "up", "ctrl+c".
func (m *model) press(key string) tea.Cmd {
	if key == "ctrl+c" {
		return tea.Quit
	}
	// No Ctrl-Z: without a shell above, as in a container, the kernel stops nobody (an orphaned group), and bubbletea would
	// wait for ever to be woken up.
	if m.order.question != "" {
		return m.answer(key)
	}
	m.order.dismiss()
	if m.help {
		m.help = false
		return nil
	}
	switch key {
	case "q":
		return tea.Quit
	case "?", "f1":
		m.help = true
	case "p":
		m.paused = !m.paused
	case "r":
		m.askRestart()
	case "R":
		m.order.ask("Reload: configuration, data and code anew, every worker replaced?", m.reload)
	default:
		if !m.move(key) {
			m.sortBy(key)
		}
	}
	return nil
}

// move changes the selection.
func (m *model) move(key string) bool {
	rows := m.rows()
	if len(rows) == 0 {
		return false
	}
	at, page := m.find(rows), max(1, m.tableHeight()-1)
	switch key {
	case "up":
		at--
	case "down":
		at++
	case "pgup":
		at -= page
	case "pgdown":
		at += page
	case "home":
		at = 0
	case "end":
		at = len(rows) - 1
	default:
		return false
	}
	m.index = min(max(at, 0), len(rows)-1)
	m.selected = rows[m.index].place()
	return true
}

// find returns the index of the selected worker. When it is gone, that of the one that has its slot, or else of the one that
// stands where it stood.
func (m *model) find(rows []row) int {
	slot := -1
	for i := range rows {
		if rows[i].place() == m.selected {
			m.index = i
			return i
		}
		if rows[i].ID == m.selected.id && (slot < 0 || rows[i].Incarnation > rows[slot].Incarnation) {
			slot = i
		}
	}
	if slot >= 0 {
		m.index = slot
	}
	m.index = min(max(m.index, 0), len(rows)-1)
	m.selected = rows[m.index].place()
	return m.index
}

// sortBy sorts by the column of a key; the same key again reverses the order.
func (m *model) sortBy(key string) {
	for i, c := range columns() {
		if c.key != key || key == "" {
			continue
		}
		if m.sort == i {
			m.reversed = !m.reversed
		} else {
			m.sort, m.reversed = i, false
		}
	}
}

func (m *model) askRestart() {
	rows := m.rows()
	if len(rows) == 0 {
		return
	}
	w := &rows[m.find(rows)]
	name := "worker " + strconv.Itoa(w.ID)
	if w.PID != nil {
		name += fmt.Sprintf(" (pid %d)", *w.PID)
	}
	id := w.ID
	m.order.ask("Restart "+name+"?", func() tea.Cmd { return m.restart(id) })
}

func (m *model) answer(key string) tea.Cmd {
	do := m.order.do
	m.order.question, m.order.do = "", nil
	if key != "y" && key != "Y" {
		return nil
	}
	return do()
}
