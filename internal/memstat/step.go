// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// One step of the sampler: what is due at a moment is read, counted and published.

import (
	"cmp"
	"os"
	"slices"
	"time"
)

// state is what the goroutine of Run owns.
type state struct {
	*reader
	workers  []*worker // by Key
	segments map[SegKey]Segment
	dirty    map[SegKey]bool // segments of which some runs changed since they were counted
	self     Self
	host     Host

	patience  time.Duration // a step ends after this: no T0 is to be late by more than about one tick
	ready     debounce      // changes of the set of ready workers
	stale     time.Time     // a smaps_rollup read before this moment is due again
	debt      debt
	cheap     float64       // share of a core that all but the samples takes, of late
	overhead  time.Duration // processor time of that since the last tick
	light     time.Duration // and of the last step with a tick and without a walk
	sampling  time.Duration // processor time of the samples of this step and of counting them
	due       []*worker     // kept for the next step
	lastTick  time.Time
	nextTick  time.Time
	nextUsage time.Time
	nextPSS   time.Time // of this process
	lastTook  time.Duration
	cpuStart  time.Duration
}

func newState(proc string) state {
	return state{
		reader:   newReader(proc),
		segments: map[SegKey]Segment{},
		dirty:    map[SegKey]bool{},
	}
}

// step does what is due now and returns when to come again.
func (s *Sampler) step(now time.Time) time.Time {
	deadline := time.Now().Add(s.patience)
	begun := threadCPU()
	s.sampling = 0
	if news := s.take(); news != nil {
		s.adopt(news, now)
	}
	ticked, walked := !now.Before(s.nextTick), false
	if ticked {
		walked = s.tick(now)
	}
	if s.ready.due(now, s.options.Settle, s.options.Scan) {
		s.stale, s.ready = now, debounce{}
	}
	s.debt.pay(now, s.options.Budget)
	s.sampleFirst(now, deadline)
	s.sampleDue(now, deadline)
	start := threadCPU()
	s.count()
	counting := threadCPU() - start
	s.sampling += counting
	s.debt.add(counting, counting)
	s.publish(now)
	rest := threadCPU() - begun - s.sampling
	s.debt.run(rest)
	s.overhead += rest
	if ticked {
		if walked { // its own period is for that
			rest = s.light
		}
		s.light = rest
		s.nextTick = now.Add(tickPeriod(rest, s.options.Budget, s.options.Tick, s.options.Scan))
	}
	return s.nextTick
}

// adopt takes up which workers and segments there are.
func (s *Sampler) adopt(n *news, now time.Time) {
	known := s.segments
	s.segments = make(map[SegKey]Segment, len(n.segments))
	for _, seg := range n.segments {
		s.segments[seg.SegKey] = seg
	}
	old := make(map[Key]*worker, len(s.workers))
	for _, w := range s.workers {
		old[w.Key] = w
	}
	s.workers = make([]*worker, 0, len(n.targets))
	for _, t := range n.targets {
		w := old[t.Key]
		if w == nil || w.PID != t.PID || !slices.Equal(w.Versions, t.Versions) {
			w = &worker{}
		} else {
			delete(old, t.Key)
		}
		if t.Ready && !w.Ready {
			s.ready.mark(now)
		}
		for _, key := range t.Versions {
			_, before := known[key]
			if _, now := s.segments[key]; now && !before { // no scan can have looked for it
				w.scanned, w.counted = time.Time{}, false
			}
		}
		w.Target = t
		s.workers = append(s.workers, w)
	}
	for _, w := range old {
		w.close()
		s.changed(w)
		if w.Ready {
			s.ready.mark(now)
		}
	}
	slices.SortFunc(s.workers, func(a, b *worker) int {
		return cmp.Or(cmp.Compare(a.Worker, b.Worker), cmp.Compare(a.Incarnation, b.Incarnation))
	})
}

// changed marks the segments of w to be counted again.
func (s *Sampler) changed(w *worker) {
	for _, key := range w.Versions {
		s.dirty[key] = true
	}
}

// tick is T0, and where the budget allows a walk over the trees with gopsutil, for all workers and this process.
func (s *Sampler) tick(now time.Time) (walked bool) {
	if elapsed := now.Sub(s.lastTick); elapsed > 0 {
		s.cheap += (min(s.overhead.Seconds()/elapsed.Seconds(), s.options.Budget*(tickShare+usageShare)) - s.cheap) / 8
	}
	s.lastTick, s.overhead = now, 0
	start := threadCPU()
	full := !now.Before(s.nextUsage)
	for _, w := range s.workers {
		w.read = now
		read := s.status
		if full || w.scanned.IsZero() {
			read = s.walk
		}
		if read(w) && !w.scanned.IsZero() {
			w.tree.mark(now)
			s.changed(w)
		}
	}
	if full {
		s.readSelf(now)
		s.nextUsage = now.Add(usagePeriod(threadCPU()-start, s.options.Budget, s.options.Tick))
	}
	return full
}

// readSelf measures this process and the machine.
func (s *Sampler) readSelf(now time.Time) {
	u := s.gauge.usage(os.Getpid())
	s.self.RSS, s.self.CPUSeconds = u.rss, u.cpu
	s.host = s.gauge.host()
	if now.Before(s.nextPSS) {
		return
	}
	s.nextPSS = now.Add(s.options.Scan)
	s.self.PSS, s.self.PageTables = nil, nil
	self := &member{pid: os.Getpid(), proc: s.proc + "/self", dir: s.proc + "/self"}
	if text, err := s.text.file(self, "status"); err == nil {
		if now, ok := parseStatus(text); ok {
			s.self.PageTables = &now.pageTables
		}
	}
	if r, err := readRollup(self, &s.text, &s.calls); err == nil {
		// Without shared memory: what this process maps of it are segments, while they are filled and where they are kept
		// locked, and those are counted once for the whole fleet.
		s.self.PSS = new(r.pssAnon + r.pssFile)
	}
}
