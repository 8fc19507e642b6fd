// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"context"
	"maps"
	"sync/atomic"
	"time"

	"github.com/preforkd/preforkd/internal/fleet"
	"github.com/preforkd/preforkd/internal/memstat"
	"github.com/preforkd/preforkd/internal/process"
)

// Stage must be the first call in main. Where the process was started as the exec stage of a worker it becomes that
// worker's command and does not return; otherwise it does nothing.
func Stage() { process.Stage() }

// Supervisor is one fleet. Its methods may be called from any goroutine.
type Supervisor struct {
	config  *parsed
	started time.Time
	inbox   chan func(*loop)
	done    chan struct{} // closed when the loop has ended
	view    atomic.Pointer[view]
	changed atomic.Pointer[chan struct{}]
	beat    atomic.Int64 // when the loop last answered, in nanoseconds since started
	sampler *memstat.Sampler
	journal journal
	cgroup  cgroupCache
}

// New checks a configuration and touches nothing yet. An error is an *Error of KindConfig that tells all problems.
func New(config Config) (*Supervisor, error) {
	p, err := config.parse()
	if err != nil {
		return nil, err
	}
	s := &Supervisor{
		config:  p,
		started: time.Now(),
		inbox:   make(chan func(*loop), 64),
		done:    make(chan struct{}),
		sampler: memstat.New(memstat.Options{Budget: p.StatsBudget}),
	}
	s.changed.Store(new(make(chan struct{})))
	s.view.Store(&view{reloads: newReloads(), command: p.shownCommand(), state: fleet.New(fleet.Config{Workers: p.Workers}), ended: make([]endedView, p.Workers)})
	return s, nil
}

// Run opens the sockets, loads the data, runs the fleet and returns when its last process has ended: nil when it was asked
// to stop, by Stop, Quit, Kill or the end of ctx (a graceful stop), otherwise an *Error. It may be called once, keeps its
// goroutine on one OS thread, and leaves nothing behind.
func (s *Supervisor) Run(ctx context.Context) error {
	defer close(s.done)
	return runLoop(ctx, s)
}

// Stop asks every worker to stop and kills those that have not after StopTimeout.
func (s *Supervisor) Stop() { s.post(func(l *loop) { l.stopLoading(); l.step(fleet.Stop{}) }) }

// Quit is Stop with a short timeout; the second one kills.
func (s *Supervisor) Quit() { s.post((*loop).quit) }

// Kill kills every worker at once, and what ended ones left in their process groups.
func (s *Supervisor) Kill() { s.post((*loop).kill) }

// ReapOrphans reaps the ended processes that nobody waits for, where Config.ReapOrphans is set. Call it at SIGCHLD.
func (s *Supervisor) ReapOrphans() { s.post((*loop).reapOrphans) }

// report is post for helpers that the loop waits for at its end, when nobody takes news any more.
func (l *loop) report(f func(*loop)) {
	select {
	case l.inbox <- f:
	case <-l.ctx.Done():
	}
}

// post has the loop call f; not at all once the loop has ended.
func (s *Supervisor) post(f func(*loop)) (posted bool) {
	select {
	case s.inbox <- f:
		return true
	case <-s.done:
		return false
	}
}

// Ready tells whether a worker is ready and no stop is under way.
func (s *Supervisor) Ready() bool {
	v := s.view.Load()
	return v.state.Phase == fleet.Running && v.state.Count(fleet.WorkerReady) > 0
}

// Updated returns a channel that is closed at the next change of what Snapshot tells, the sampler's figures aside.
func (s *Supervisor) Updated() <-chan struct{} { return *s.changed.Load() }

// Healthy tells whether the loop has answered in the last 5 seconds.
func (s *Supervisor) Healthy() bool {
	return time.Since(s.started)-time.Duration(s.beat.Load()) < 5*time.Second
}

// Counters are totals since the start that a Snapshot does not carry.
type Counters struct {
	ExitsByReason map[string]uint64 // ended processes by Exit.Reason
	Spawns        uint64            // worker processes started
	Reloads       map[string]uint64 // reloads by Reload.Result
}

// newReloads has a zero for each result: a counter must be there before it counts.
func newReloads() map[string]uint64 {
	return map[string]uint64{ReloadDone: 0, ReloadUnchanged: 0, ReloadFailed: 0}
}

// Counters returns the totals so far; the maps are the caller's.
func (s *Supervisor) Counters() Counters {
	state := s.view.Load().state
	c := Counters{ExitsByReason: map[string]uint64{}, Spawns: uint64(state.Spawns), Reloads: maps.Clone(s.view.Load().reloads)}
	for _, reason := range fleet.Reasons() {
		c.ExitsByReason[reason.String()] = uint64(state.Exits[reason])
	}
	return c
}
