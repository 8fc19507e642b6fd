// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

// Bars on a terminal while the fleet's first data is loaded.

import (
	"io"
	"sync"
	"time"

	"github.com/preforkd/preforkd/internal/config"
	"github.com/preforkd/preforkd/internal/tui"
	"github.com/preforkd/preforkd/supervisor"
)

const (
	loadingPatience = 300 * time.Millisecond // what is loaded by then is not worth a flicker
	loadingRedraw   = 100 * time.Millisecond
)

// loadingBars returns bars for standard error, nil where nobody would see them: no terminal, a log file, a log of JSON.
func loadingBars(o *config.Options, out *sink) *tui.Bars {
	if !out.terminal() || o.LogFormat == "json" {
		return nil
	}
	return tui.Loading(out.stderr, 0)
}

// above leads what is written to the terminal of bars above them; without bars it is w.
func above(bars *tui.Bars, w io.Writer) io.Writer {
	if bars == nil {
		return w
	}
	return bars.Log()
}

// showLoading draws bars until s has loaded its first data. stop ends it before; a terminal that takes nothing does not hold
// it up.
func showLoading(s *supervisor.Supervisor, bars *tui.Bars) (stop func()) {
	if bars == nil {
		return func() {}
	}
	ending, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		defer bars.Close()
		show := time.After(loadingPatience)
		redraw := time.NewTicker(loadingRedraw)
		defer redraw.Stop()
		for {
			changed := s.Updated()
			now := s.Snapshot()
			bars.Update(now.Data)
			if now.Supervisor.State != supervisor.StateLoading {
				return
			}
			select {
			case <-changed:
			case <-redraw.C:
			case <-show:
				bars.Show()
			case <-ending:
				return
			}
		}
	}()
	return sync.OnceFunc(func() {
		close(ending)
		select {
		case <-ended:
		case <-time.After(goodbye):
		}
	})
}
