// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package apitest

import (
	"sync/atomic"

	"github.com/preforkd/preforkd/supervisor"
)

// Source is a fleet that stands still. It implements api.Source; its fields may be changed while it is served.
type Source struct {
	View                 atomic.Pointer[supervisor.Snapshot]
	Unhealthy, Unready   atomic.Bool
	Spawns               uint64
	ExitsByReason, Loads map[string]uint64
}

// NewSource returns a healthy, ready source that shows s; nil is a fleet without a snapshot yet.
func NewSource(s *supervisor.Snapshot) *Source {
	source := &Source{
		Spawns:        7,
		ExitsByReason: map[string]uint64{"crash": 2, "stop": 1, "start-timeout": 0},
		Loads:         map[string]uint64{"done": 1, "failed": 1},
	}
	source.View.Store(s)
	return source
}

// Snapshot implements api.Source.
func (s *Source) Snapshot() *supervisor.Snapshot { return s.View.Load() }

// Healthy implements api.Source.
func (s *Source) Healthy() bool { return !s.Unhealthy.Load() }

// Ready implements api.Source.
func (s *Source) Ready() bool { return !s.Unready.Load() }

// Counters implements api.Source.
func (s *Source) Counters() supervisor.Counters {
	return supervisor.Counters{Spawns: s.Spawns, ExitsByReason: s.ExitsByReason, Reloads: s.Loads}
}
