// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package top

// How fast a figure that only grows does so.

import (
	"maps"

	"github.com/preforkd/preforkd/internal/tui"
	"github.com/preforkd/preforkd/supervisor"
)

const (
	window = 5.0 // seconds that a rate is taken over, if looks come that often
	stale  = 2.5 // seconds without a change after which a figure that is read each second stands still
)

// rates has the meters of each worker and each dataset that is being loaded.
type rates map[any]*meter

type (
	cpuOf      struct{ id, incarnation, pid int }
	requestsOf struct{ id, incarnation, pid int }
	loadOf     string
)

// take adds what a snapshot shows and forgets what it shows no more.
func (r rates) take(s *supervisor.Snapshot) {
	at := tui.Now(s).Sub(s.Supervisor.StartedAt).Seconds()
	known := rates{}
	add := func(key any, value float64) {
		m := r[key]
		if m == nil {
			m = &meter{}
		}
		m.add(at, value)
		known[key] = m
	}
	for i := range s.Workers {
		w := &s.Workers[i]
		if w.PID == nil {
			continue
		}
		if w.CPUSeconds != nil {
			add(cpuOf{w.ID, w.Incarnation, *w.PID}, *w.CPUSeconds)
		}
		if w.Requests != nil {
			add(requestsOf{w.ID, w.Incarnation, *w.PID}, float64(*w.Requests))
		}
	}
	for i := range s.Data {
		if d := &s.Data[i]; d.LoadedAt == nil {
			done, _ := amount(d)
			add(loadOf(d.Name), float64(done))
		}
	}
	clear(r)
	maps.Copy(r, known)
}

// of is what grows per second; nil where that is not known yet.
func (r rates) of(key any) *float64 {
	if m := r[key]; m != nil {
		return m.rate()
	}
	return nil
}

// meter keeps the moments at which a figure was seen to have changed. It is read each second, and so are these figures by
// preforkd: between two looks there may be none or two of its readings, so a rate is taken from change to change.
type meter struct {
	changes []change // oldest first
	at      float64  // the last look
}

type change struct{ at, value float64 }

func (m *meter) add(at, value float64) {
	if n := len(m.changes); n > 0 && value < m.changes[n-1].value {
		m.changes = nil // a process of the tree has ended with its share, or it counts anew
	}
	if n := len(m.changes); n == 0 || value != m.changes[n-1].value {
		m.changes = append(m.changes, change{at, value})
	}
	for len(m.changes) > 1 && m.changes[1].at <= at-window {
		m.changes = m.changes[1:]
	}
	m.at = at
}

func (m *meter) rate() *float64 {
	first, last := m.changes[0], m.changes[len(m.changes)-1]
	end := last.at
	if m.at-end > stale {
		end = m.at
	}
	if end <= first.at {
		return nil
	}
	return new((last.value - first.value) / (end - first.at))
}
