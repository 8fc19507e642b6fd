// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package top

// Orders to the instance: asked about first, then carried out beside the screen, with progress and result at its foot.

import (
	"strconv"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/preforkd/preforkd/internal/tui"
	"github.com/preforkd/preforkd/supervisor"
)

// order is the one that is asked about, under way, or done.
type order struct {
	question string // "" when nothing is asked
	do       func() tea.Cmd

	running bool
	name    string // "restart of worker 2"
	step    string
	result  []string // lines; nil when there is none or it was read
	failed  bool
}

type (
	stepMsg supervisor.Operation
	doneMsg struct {
		sentence string
		err      error
	}
)

// ask puts a question at the foot of the screen. One order is followed at a time.
func (o *order) ask(question string, do func() tea.Cmd) {
	if o.running {
		o.result, o.failed = []string{"The " + o.name + " is still under way."}, false
		return
	}
	o.question, o.do = question, do
}

// dismiss takes a result off the screen.
func (o *order) dismiss() { o.result, o.failed = nil, false }

func (o *order) advance(msg stepMsg) { o.step = tui.Operation(supervisor.Operation(msg)) }

func (o *order) end(msg doneMsg) {
	o.running = false
	text := msg.sentence
	if o.failed = msg.err != nil; o.failed {
		text = msg.err.Error()
	}
	o.result = strings.Split(tui.Clean(text), "\n")
}

func (m *model) restart(id int) tea.Cmd {
	return m.carryOut("restart of worker "+strconv.Itoa(id), func(progress func(supervisor.Operation)) (string, error) {
		return m.instance.Restart(m.ctx, []int{id}, progress)
	})
}

func (m *model) reload() tea.Cmd {
	return m.carryOut("reload", func(progress func(supervisor.Operation)) (string, error) {
		return m.instance.Reload(m.ctx, nil, progress)
	})
}

// carryOut returns a command that ends with the order. Each step is a message of its own.
func (m *model) carryOut(name string, do func(progress func(supervisor.Operation)) (string, error)) tea.Cmd {
	m.order = order{running: true, name: name, step: "was asked for"}
	return func() tea.Msg {
		sentence, err := do(func(o supervisor.Operation) { m.send(stepMsg(o)) })
		return doneMsg{sentence, err}
	}
}
