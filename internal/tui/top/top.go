// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package top

// The program around the model.

import (
	"context"
	"fmt"
	"io"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"

	"github.com/preforkd/preforkd/supervisor"
)

// Instance is a running preforkd. Its methods may be called at the same time; they end with their context.
type Instance interface {
	Stats(ctx context.Context) (*supervisor.Snapshot, []byte, error)
	Restart(ctx context.Context, ids []int, progress func(supervisor.Operation)) (string, error)
	Reload(ctx context.Context, names []string, progress func(supervisor.Operation)) (string, error)
}

// Options says what is shown, and where.
type Options struct {
	Instance    Instance
	Input       io.Reader // a terminal
	Output      io.Writer // a terminal
	Environment []string  // TERM and its like
	Interval    time.Duration
	Color       bool
}

// Run shows the screen until q or Ctrl-C is pressed or ctx ends, which is no error. What was ordered goes on in the instance.
func Run(ctx context.Context, o Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Given a profile, bubbletea does not look for one, which would run programs.
	profile := colorprofile.ASCII
	if o.Color {
		profile = colorprofile.ANSI
	}
	m := &guarded{model: newModel(ctx, o)}
	// Signals are the caller's: they end ctx.
	p := tea.NewProgram(m, tea.WithInput(o.Input), tea.WithOutput(o.Output), tea.WithEnvironment(o.Environment),
		tea.WithColorProfile(profile), tea.WithoutSignalHandler())
	m.send = p.Send
	// Not by tea.WithContext: a program that is killed closes its input while it is still being read.
	stop := context.AfterFunc(ctx, p.Quit)
	defer stop()
	_, err := p.Run()
	switch {
	case m.mistake != nil:
		return m.mistake
	case err != nil && ctx.Err() == nil: // else the terminal has gone, and with it whoever looked
		return fmt.Errorf("cannot show a screen: %v", err)
	}
	return nil
}
