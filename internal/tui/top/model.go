// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package top

// The state of the screen, and what changes it.

import (
	"context"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/preforkd/preforkd/internal/tui"
	"github.com/preforkd/preforkd/supervisor"
)

const (
	patience = 5 * time.Second // for an answer; it takes milliseconds
	again    = time.Second     // until the next try while there is no answer, and the next look at the clock in a pause
)

// model is a tea.Model. Its methods are for bubbletea's goroutine; its commands run on others and only return messages.
type model struct {
	ctx      context.Context
	instance Instance
	send     func(tea.Msg) // for what comes in several parts
	interval time.Duration
	style    style

	width, height int
	now           time.Time // of the last tick
	paused, help  bool

	snapshot *supervisor.Snapshot // nil before the first
	seen     time.Time            // when it came
	lost     error                // why there is no newer one
	saved    *int64               // what was saved when that was known last
	savedAt  time.Time            // by the instance's clock
	rates    rates

	sort     int // index in columns
	reversed bool
	selected place
	index    int // of the selection in the sorted rows
	offset   int // of the first row that is shown

	order order
}

// place is one worker: a slot has two while it is replaced.
type place struct{ id, incarnation int }

type (
	tickMsg  time.Time
	statsMsg struct {
		snapshot *supervisor.Snapshot
		err      error
		between  bool // two ticks: it leads to none itself
	}
)

func newModel(ctx context.Context, o Options) *model {
	return &model{
		ctx: ctx, instance: o.Instance, interval: o.Interval, style: style{color: o.Color}, width: 80, height: 24,
		rates: rates{}, send: func(tea.Msg) {},
	}
}

// Init implements tea.Model.
func (m *model) Init() tea.Cmd { return m.tick(0) }

// Update implements tea.Model. One tick leads to one look, whose answer arms the next tick.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tickMsg:
		m.now = time.Time(msg)
		if m.paused {
			return m, m.tick(again)
		}
		return m, m.look
	case statsMsg:
		next := m.take(msg)
		if msg.between {
			return m, nil
		}
		return m, m.tick(next)
	case stepMsg:
		m.order.advance(msg)
	case doneMsg:
		m.order.end(msg)
		return m, func() tea.Msg { // what came of it is worth an extra look
			answer := m.look().(statsMsg)
			answer.between = true
			return answer
		}
	case tea.KeyPressMsg:
		return m, m.press(msg.String())
	}
	return m, nil
}

// tick returns a command that waits.
func (m *model) tick(after time.Duration) tea.Cmd {
	return func() tea.Msg {
		timer := time.NewTimer(after)
		defer timer.Stop()
		select {
		case at := <-timer.C:
			return tickMsg(at)
		case <-m.ctx.Done():
			return nil
		}
	}
}

// look is a command.
func (m *model) look() tea.Msg {
	ctx, cancel := context.WithTimeout(m.ctx, patience)
	defer cancel()
	snapshot, _, err := m.instance.Stats(ctx)
	return statsMsg{snapshot: snapshot, err: err}
}

// take shows a snapshot and returns the time until the next.
func (m *model) take(msg statsMsg) time.Duration {
	if m.ctx.Err() != nil {
		return again // this is the end
	}
	if m.lost = msg.err; m.lost != nil {
		return min(again, m.interval)
	}
	if m.paused { // since it was asked for
		return again
	}
	s := msg.snapshot
	if m.snapshot != nil {
		old, now := &m.snapshot.Supervisor, &s.Supervisor
		if old.PID != now.PID || !old.StartedAt.Equal(now.StartedAt) { // another preforkd
			m.rates, m.saved = rates{}, nil
		}
	}
	m.snapshot, m.seen = s, m.now
	m.rates.take(s)
	if s.Memory.Saved != nil {
		m.saved, m.savedAt = s.Memory.Saved, tui.Now(s)
	}
	return m.interval
}
