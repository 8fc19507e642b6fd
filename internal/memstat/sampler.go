// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

import (
	"cmp"
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Sampler measures a fleet. Make one with New, feed it with Update, run it with Run, read it with Latest.
type Sampler struct {
	options Options
	latest  atomic.Pointer[Fleet]
	wake    chan struct{} // holds one token while news waits

	mu   sync.Mutex
	news *news // what Update said last and Run has not taken up

	state // Run's own
}

// news is what Update brings.
type news struct {
	targets  []Target
	segments []Segment
}

// New returns a sampler that measures nothing until Run.
func New(o Options) *Sampler {
	o.Proc = cmp.Or(o.Proc, "/proc")
	o.Budget = cmp.Or(o.Budget, 0.01)
	o.Tick = cmp.Or(o.Tick, time.Second)
	o.Scan = cmp.Or(o.Scan, 10*time.Second)
	o.Exact = cmp.Or(o.Exact, time.Minute)
	o.Settle = cmp.Or(o.Settle, time.Second)
	s := &Sampler{options: o, wake: make(chan struct{}, 1)}
	s.state = newState(o.Proc)
	s.patience = o.Tick
	s.latest.Store(&Fleet{
		Workers:   map[Key]*Worker{},
		Allocated: map[SegKey]int64{},
		Cost:      Cost{Interval: o.Scan.Seconds(), Budget: o.Budget},
	})
	return s
}

// Update tells which workers and segments are live now, all of them. It replaces what was told before, never blocks,
// and may be called from any goroutine. The slices belong to the sampler from then on.
func (s *Sampler) Update(targets []Target, segments []Segment) {
	s.mu.Lock()
	s.news = &news{targets: targets, segments: segments}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default: // a token is there already
	}
}

// Latest returns the newest measurement. It is never nil; callers must not change it.
func (s *Sampler) Latest() *Fleet { return s.latest.Load() }

// Run measures until ctx ends. It locks its goroutine to an OS thread, closes every descriptor it opened, and may be
// called once.
func (s *Sampler) Run(ctx context.Context) {
	runtime.LockOSThread()
	defer func() {
		if !s.text.access.stuck {
			runtime.UnlockOSThread()
		}
	}()
	defer s.close()
	s.scanner.stopped = func() bool { return ctx.Err() != nil }
	s.cpuStart = threadCPU()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-timer.C:
		}
		timer.Reset(time.Until(s.step(time.Now())))
	}
}

// take returns the news, nil when there is none.
func (s *Sampler) take() *news {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.news
	s.news = nil
	return n
}
