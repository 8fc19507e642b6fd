// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// The sampler as its owner uses it: Update, Run, Latest.

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// running starts Run and returns what stops it and waits.
func running(t *testing.T, s *Sampler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx)
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	t.Cleanup(stop)
	return stop
}

// until polls the newest view.
func until(t *testing.T, s *Sampler, what string, is func(*Fleet) bool) *Fleet {
	t.Helper()
	deadline := time.After(20 * time.Second)
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for {
		f := s.Latest()
		if is(f) {
			return f
		}
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("no %s: %+v", what, f)
		}
	}
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestLatestIsThereBeforeRun(t *testing.T) {
	f := New(Options{}).Latest()
	if f == nil || f.Workers == nil || f.Cost.Budget != 0.01 || f.Cost.Interval != 10 {
		t.Errorf("latest = %+v", f)
	}
}

func TestAWorkerIsMeasuredWhenItIsHandedOverAndExactWhenItIsReady(t *testing.T) {
	seg, f := newSegment(t, "seg", 256)
	c := start(t, f)
	c.do("shared 3 0 256", "touch 0 0 256")
	s := New(Options{Tick: time.Hour, Scan: 2 * time.Hour}) // nothing comes of itself
	running(t, s)
	w := target(0, c, seg)
	w.Ready = false
	s.Update([]Target{w}, []Segment{seg})
	first := until(t, s, "first sample", func(f *Fleet) bool { return f.Workers[w.Key] != nil }).Workers[w.Key]
	if first.PSS == nil || first.Sample.Exact {
		t.Errorf("sample of a worker that is starting: %+v", first)
	}
	w.Ready = true
	s.Update([]Target{w}, []Segment{seg})
	row := until(t, s, "exact sample", func(f *Fleet) bool { return f.Workers[w.Key].Sample.Exact }).Workers[w.Key]
	checkNear(t, "data pss", row.Data[0].PSS, seg.Size, 0)
	if got := s.Latest().Allocated[seg.SegKey]; got != seg.Size {
		t.Errorf("%d bytes are allocated, want %d", got, seg.Size)
	}
	if row.StartedAt == nil || time.Since(*row.StartedAt) > time.Hour {
		t.Errorf("started at %v", row.StartedAt)
	}
	s.Update(nil, nil)
	until(t, s, "end of the row", func(f *Fleet) bool { return len(f.Workers) == 0 })
}

func TestRunMeasuresItselfAndEndsWithNothingOpen(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	seg, f := newSegment(t, "seg", 256)
	c := start(t, f)
	c.do("shared 3 0 256", "touch 0 0 256")
	s := New(Options{Tick: 5 * time.Millisecond, Scan: 10 * time.Millisecond, Exact: 20 * time.Millisecond, Budget: 1})
	before := openDescriptors(t)
	stop := running(t, s)
	s.Update([]Target{target(0, c, seg)}, []Segment{seg})
	ticks := 0
	var last time.Time
	fleet := until(t, s, "tenth tick", func(f *Fleet) bool {
		if f.At != last {
			ticks, last = ticks+1, f.At
		}
		return ticks > 10
	})
	if self := fleet.Self; self.RSS == nil || self.PSS == nil || self.CPUSeconds == nil || *self.RSS < *self.PSS {
		t.Errorf("self = %+v", fleet.Self)
	}
	if fleet.Host.Total == nil || fleet.Host.Available == nil || *fleet.Host.Total < *fleet.Host.Available {
		t.Errorf("host = %+v", fleet.Host)
	}
	if c := fleet.Cost; c.CPUSeconds <= 0 || c.LastTook <= 0 || c.LongestCall <= 0 || c.Interval <= 0 {
		t.Errorf("cost = %+v", c)
	}
	stop()
	if got := openDescriptors(t); got != before {
		t.Errorf("%d descriptors are open, %d were before Run", got, before)
	}
	c.end()
	goleak.VerifyNone(t, ignore)
}

// For the race detector: news comes while the sampler works, and nobody waits for it.
func TestUpdateMayComeFromAnywhereAtAnyTime(t *testing.T) {
	seg, f := newSegment(t, "seg", 256)
	var targets []Target
	for i := range 3 {
		c := start(t, f)
		c.do("shared 3 0 256", "touch 0 0 256")
		targets = append(targets, target(i, c, seg))
	}
	s := New(Options{Tick: time.Millisecond, Scan: time.Millisecond, Settle: time.Millisecond, Budget: 1})
	running(t, s)
	var group sync.WaitGroup
	for g := range 4 {
		group.Go(func() {
			for i := range 100 {
				n := (g + i) % 4
				s.Update(append([]Target(nil), targets[:n]...), []Segment{seg})
				for key, w := range s.Latest().Workers {
					_ = fmt.Sprint(key, w.PIDs, w.Sample)
				}
			}
		})
	}
	group.Wait()
	s.Update(targets, []Segment{seg})
	until(t, s, "exact fleet of three", func(f *Fleet) bool {
		for _, target := range targets {
			w := f.Workers[target.Key]
			if w == nil || !w.Sample.Exact || *w.Data[0].PSS != seg.Size/3 && *w.Data[0].PSS != seg.Size/3+1 {
				return false
			}
		}
		return true
	})
}

func TestPSSFollowsAWorkerThatGrowsWithoutAnotherRollup(t *testing.T) {
	seg, f := newSegment(t, "seg", 256)
	c := start(t, f)
	c.do("shared 3 0 256", "touch 0 0 256")
	s := New(Options{Tick: 5 * time.Millisecond, Scan: time.Hour, Exact: 2 * time.Hour})
	running(t, s)
	w := target(0, c, seg)
	s.Update([]Target{w}, []Segment{seg})
	row := func(f *Fleet) *Worker { return f.Workers[w.Key] }
	before := row(until(t, s, "exact sample", func(f *Fleet) bool { return row(f) != nil && row(f).Sample.Exact }))
	const grown = 16 << 20
	c.do("anon 16777216")
	after := row(until(t, s, "larger PSS", func(f *Fleet) bool { return *row(f).PSS >= *before.PSS+grown }))
	checkNear(t, "growth of USS", new(*after.USS-*before.USS), *after.PSS-*before.PSS, 0)
	if *after.Sample.At != *before.Sample.At {
		t.Error("the worker was sampled again")
	}
}
