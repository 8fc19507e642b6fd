// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package apitest

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/preforkd/preforkd/supervisor"
)

// Source is a fleet that stands still. It implements api.Source; its fields may be changed while it is served.
type Source struct {
	View                 atomic.Pointer[supervisor.Snapshot]
	Unhealthy, Unready   atomic.Bool
	Spawns               uint64
	ExitsByReason, Loads map[string]uint64
	Asked                atomic.Int64 // calls of Snapshot

	mu      sync.Mutex
	events  []supervisor.Event
	changed chan struct{}
}

// NewSource returns a healthy, ready source that shows s; nil is a fleet without a snapshot yet.
func NewSource(s *supervisor.Snapshot) *Source {
	source := &Source{
		Spawns:        7,
		ExitsByReason: map[string]uint64{"crash": 2, "stop": 1, "start-timeout": 0},
		Loads:         map[string]uint64{"done": 1, "failed": 1},
		changed:       make(chan struct{}),
	}
	source.View.Store(s)
	return source
}

// Show replaces the snapshot and tells so, as View.Store does not.
func (s *Source) Show(snapshot *supervisor.Snapshot) {
	s.View.Store(snapshot)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.update()
}

// Happen adds an event, numbered behind the last one.
func (s *Source) Happen(e supervisor.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.Seq = 1
	if n := len(s.events); n > 0 {
		e.Seq = s.events[n-1].Seq + 1
	}
	s.events = append(s.events, e)
	s.events = s.events[max(0, len(s.events)-256):]
	s.update()
}

func (s *Source) update() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Snapshot implements api.Source.
func (s *Source) Snapshot() *supervisor.Snapshot {
	s.Asked.Add(1)
	return s.View.Load()
}

// Healthy implements api.Source.
func (s *Source) Healthy() bool { return !s.Unhealthy.Load() }

// Ready implements api.Source.
func (s *Source) Ready() bool { return !s.Unready.Load() }

// Counters implements api.Source.
func (s *Source) Counters() supervisor.Counters {
	return supervisor.Counters{Spawns: s.Spawns, ExitsByReason: s.ExitsByReason, Reloads: s.Loads}
}

// Events implements api.Source.
func (s *Source) Events(after uint64) []supervisor.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, e := range s.events {
		if e.Seq > after {
			return slices.Clone(s.events[i:])
		}
	}
	return nil
}

// Updated implements api.Source.
func (s *Source) Updated() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}
