// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// What the tiers cost: go test -bench . ./internal/memstat. The segment has 4 KiB pages unless the machine says
// otherwise.

import (
	"fmt"
	"os"
	"testing"
)

// benchFleet starts workers that map all of a segment and returns a sampler that has sampled them once.
func benchFleet(b *testing.B, workers, pages int) (*testSampler, []Segment) {
	b.Helper()
	seg, f := newSegment(b, "seg", pages)
	var targets []Target
	for i := range workers {
		c := start(b, f)
		c.do(fmt.Sprint("shared 3 0 ", pages), fmt.Sprint("touch 0 0 ", pages))
		targets = append(targets, target(i, c, seg))
	}
	s := newTestSampler(b)
	s.Update(targets, []Segment{seg})
	s.after(0)
	return s, []Segment{seg}
}

func BenchmarkT0Status(b *testing.B) {
	for _, n := range []int{1, 8, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, _ := benchFleet(b, n, 16)
			b.ReportAllocs()
			for b.Loop() {
				for _, w := range s.workers {
					s.status(w)
				}
			}
		})
	}
}

func BenchmarkTickWithGopsutil(b *testing.B) {
	s, _ := benchFleet(b, 8, 16)
	b.ReportAllocs()
	for b.Loop() {
		s.nextUsage = s.now
		s.tick(s.now)
	}
}

func BenchmarkT1Scan(b *testing.B) {
	for _, n := range []int{1, 8} {
		b.Run(fmt.Sprintf("%dx64MiB", n), func(b *testing.B) {
			s, segments := benchFleet(b, n, 64<<20/os.Getpagesize())
			b.ReportAllocs()
			for b.Loop() {
				for _, w := range s.workers {
					for _, m := range w.members {
						if err := m.scan(segments, false, &s.text, s.scanner); err != nil {
							b.Fatal(err)
						}
					}
					s.changed(w)
				}
				s.count()
			}
		})
	}
}

func BenchmarkT2Rollup(b *testing.B) {
	s, _ := benchFleet(b, 1, 64<<20/os.Getpagesize())
	b.ReportAllocs()
	for b.Loop() {
		if err := s.workers[0].members[0].sum(&s.text, &s.calls); err != nil {
			b.Fatal(err)
		}
	}
}
