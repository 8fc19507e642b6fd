// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package top

// Mistakes of this package.

import (
	"fmt"
	"runtime/debug"

	tea "charm.land/bubbletea/v2"
)

// guarded is a model in which a panic ends the program as q does, with an error. bubbletea (v2.1.1) restores the terminal
// after one too, but closes its input while that is still being read, which may leave a thread in epoll_wait for ever.
type guarded struct {
	*model
	mistake error
}

type mistakeMsg struct{ err error }

// Init implements tea.Model.
func (g *guarded) Init() tea.Cmd { return watched(g.model.Init()) }

// Update implements tea.Model.
func (g *guarded) Update(msg tea.Msg) (same tea.Model, cmd tea.Cmd) {
	same = g
	defer func() {
		if r := recover(); r != nil {
			g.mistake = mistake(r)
		}
		if g.mistake != nil {
			cmd = tea.Quit
		}
	}()
	if m, ok := msg.(mistakeMsg); ok {
		g.mistake = m.err
		return g, nil
	}
	_, cmd = g.model.Update(msg)
	return g, watched(cmd)
}

// View implements tea.Model.
func (g *guarded) View() (view tea.View) {
	defer func() {
		if r := recover(); r != nil {
			g.mistake, view = mistake(r), tea.View{AltScreen: true} // the next message ends it
		}
	}()
	return g.model.View()
}

// watched is a command whose panic is a message.
func watched(cmd tea.Cmd) tea.Cmd {
	if cmd == nil {
		return nil
	}
	return func() (msg tea.Msg) {
		defer func() {
			if r := recover(); r != nil {
				msg = mistakeMsg{mistake(r)}
			}
		}()
		return cmd()
	}
}

func mistake(r any) error {
	return fmt.Errorf("cannot go on, because of a mistake in preforkd top: %v\n%s", r, debug.Stack())
}
