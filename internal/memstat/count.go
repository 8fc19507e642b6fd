// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// Which workers to sample, and what follows from new samples.

import (
	"cmp"
	"slices"
	"time"
)

// sampleFirst takes the samples that no budget delays: of a worker just handed over, and of one that just became ready.
func (s *Sampler) sampleFirst(now, deadline time.Time) {
	for _, w := range s.workers {
		if w.scanned.IsZero() || w.Ready && !w.sampled {
			if time.Now().After(deadline) {
				return
			}
			start := threadCPU()
			s.sampleOne(w, true, now)
			s.sampling += threadCPU() - start
		}
	}
}

// sampleDue takes the samples that are due, the most urgent first, as far as the budget goes.
func (s *Sampler) sampleDue(now, deadline time.Time) {
	scan, sum := s.roundCost()
	most := ordinary(s.options.Budget, s.options.Scan)
	for _, w := range s.order(now, scan+sum) {
		if !s.debt.may(scan+sum) || !time.Now().Before(deadline) {
			return
		}
		if s.debt.large > 0 && w.scanCost+w.sumCost > most {
			continue
		}
		start := threadCPU()
		if !s.sampleOne(w, s.isDear(w, now), now) {
			return
		}
		cost := threadCPU() - start
		s.sampling += cost
		s.debt.add(cost, most)
	}
}

// order lists the workers that are due, by urgency, and the larger first where that is the same. round is what a sample
// of every worker costs.
func (s *Sampler) order(now time.Time, round time.Duration) []*worker {
	due := s.due[:0]
	for _, w := range s.workers {
		if s.isDue(w, now) {
			mean := round / time.Duration(len(s.workers))
			w.urgency = urgency(now.Sub(w.scanned), w.moved(), w.scanCost+w.sumCost, mean)
			due = append(due, w)
		}
	}
	slices.SortStableFunc(due, func(a, b *worker) int {
		return cmp.Or(cmp.Compare(b.urgency, a.urgency), cmp.Compare(b.footing.rss(), a.footing.rss()))
	})
	s.due = due
	return due
}

// isDue tells whether w's pages are to be scanned again.
func (s *Sampler) isDue(w *worker, now time.Time) bool {
	if w.scanned.IsZero() {
		return false // that is sampleFirst's
	}
	o, age := &s.options, now.Sub(w.scanned)
	return age >= o.Scan || w.summed.Before(s.stale) || w.tree.due(now, o.Settle, o.Scan) ||
		age >= o.Settle && w.mapped() || w.doubtful() && age >= o.Settle<<w.doubts
}

// isDear tells whether smaps_rollup belongs to that sample.
func (s *Sampler) isDear(w *worker, now time.Time) bool {
	return !w.Ready || w.doubtful() || w.tree != debounce{} ||
		now.Sub(w.summed) >= s.options.Exact || w.summed.Before(s.stale)
}

// sampleOne reads one worker, false when interrupted.
func (s *Sampler) sampleOne(w *worker, dear bool, now time.Time) bool {
	start := threadCPU()
	dear = s.look(w) || dear // a tree that changed has another rest
	looked := threadCPU() - start
	segments := make([]Segment, len(w.Versions))
	for i, key := range w.Versions {
		segments[i] = s.segments[key] // a segment not known has inode 0, which no mapping has
	}
	if !s.sample(w, segments, dear, now) {
		return false
	}
	w.scanCost += looked
	s.lastTook = w.took
	s.changed(w)
	return true
}

// roundCost is the processor time of one sample of every worker.
func (s *Sampler) roundCost() (scan, sum time.Duration) {
	for _, w := range s.workers {
		scan += w.scanCost
		sum += w.sumCost
	}
	return scan, sum
}

// count sweeps the segments that changed and settles new rollups. It reads nothing.
func (s *Sampler) count() {
	for key := range s.dirty {
		if _, live := s.segments[key]; live {
			s.sweepSegment(key)
		}
	}
	clear(s.dirty)
	for _, w := range s.workers {
		if seg, known := w.segments(int64(s.scanner.page)); known && w.rest != nil && !w.rest.settled {
			if w.doubts++; w.rest.settle(seg) {
				w.doubts = 0
			}
		}
	}
}

// sweepSegment counts one segment and gives every worker its part.
func (s *Sampler) sweepSegment(key SegKey) {
	var layers []layer
	for owner, w := range s.workers {
		for i, version := range w.Versions {
			if version != key || !w.counted {
				continue
			}
			for _, m := range w.members {
				if m.layers == nil { // joined the tree after the scan
					continue
				}
				for number, r := range m.layers[i] {
					layers = append(layers, layer{owner: owner, number: number, runs: r})
				}
			}
		}
	}
	held := sweep(layers, len(s.workers), s.segments[key].Locked)
	for owner, w := range s.workers {
		if len(w.held) != len(w.Versions) {
			w.held = make([]*holding, len(w.Versions))
		}
		for i, version := range w.Versions {
			if version == key {
				w.held[i] = &held[owner]
			}
		}
	}
}

// publish makes the view that Latest returns.
func (s *Sampler) publish(now time.Time) {
	scan, sum := s.roundCost()
	o := &s.options
	f := &Fleet{
		At:        now,
		Workers:   make(map[Key]*Worker, len(s.workers)),
		Allocated: make(map[SegKey]int64, len(s.segments)),
		Self:      s.self,
		Host:      s.host,
		Cost: Cost{
			Interval:    period(scan, sum, o.Budget-s.cheap, o.Scan, o.Exact).Seconds(),
			Budget:      o.Budget,
			LastTook:    s.lastTook.Seconds(),
			LongestCall: s.calls.lately(now).Seconds(),
			CPUSeconds:  max(0, threadCPU()-s.cpuStart).Seconds(),
		},
	}
	for _, w := range s.workers {
		f.Workers[w.Key] = w.row(s.scanner.name(), int64(s.scanner.page))
	}
	for key, seg := range s.segments {
		if seg.Allocated == nil {
			continue
		}
		if bytes, err := seg.Allocated(); err == nil {
			f.Allocated[key] = bytes
		}
	}
	s.latest.Store(f)
}

// Round does at once what Run does when it comes at a moment, and returns what it measured. It is for benches, in the
// place of Run and on a locked OS thread as there: the moments may be made up, so that the Options decide what is due.
func (s *Sampler) Round(now time.Time) *Fleet { s.step(now); return s.Latest() }

// close lets go of everything that is open.
func (s *Sampler) close() {
	for _, w := range s.workers {
		w.close()
	}
}

// LongestWork is the processor time of the longest PAGEMAP_SCAN over 4 KiB pages since New: of its wall time, the part in
// which nothing else had the processor. For benchmarks: call it between two rounds.
func (s *Sampler) LongestWork() time.Duration { return s.calls.work }
