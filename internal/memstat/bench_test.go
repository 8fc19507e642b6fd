// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// What the tiers cost: go test -bench . ./internal/memstat. With PREFORKD_BENCH_FULL=1 the fleets are those of the goals
// in DESIGN section 6: 64 workers with 4 GiB of huge pages, one with 4 GiB of small ones.

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// benchFleet starts workers that map all of a segment and returns a sampler that has sampled them once.
func benchFleet(b *testing.B, workers, pages int) (*testSampler, []Segment) {
	b.Helper()
	seg, f := newSegment(b, "seg", pages)
	return fleetOf(b, workers, seg, f)
}

func fleetOf(b *testing.B, workers int, seg Segment, f *os.File) (*testSampler, []Segment) {
	b.Helper()
	pages := int(seg.Size) / os.Getpagesize()
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

// T0 and T1 of a fleet, as one round of the sampler reads and counts them.
func BenchmarkT0AndT1Huge(b *testing.B) {
	workers, size := 8, 256<<20
	if os.Getenv("PREFORKD_BENCH_FULL") == "1" {
		workers, size = 64, 4<<30
	}
	b.Run(fmt.Sprintf("%dx%dMiB", workers, size>>20), func(b *testing.B) {
		seg, f := hugeMemfd(b, size)
		s, segments := fleetOf(b, workers, seg, f)
		s.calls.longest = 0
		before := threadCPU()
		b.ReportAllocs()
		for b.Loop() {
			s.round(b, segments)
		}
		b.ReportMetric((threadCPU()-before).Seconds()*1e3/float64(b.N), "ms-cpu/op")
		b.ReportMetric(float64(s.calls.longest.Microseconds()), "µs-longest-call")
	})
}

// The longest call over 4 KiB pages, of which a tenth was copied by writing.
func BenchmarkT1SmallPages(b *testing.B) {
	size := 256 << 20
	if os.Getenv("PREFORKD_BENCH_FULL") == "1" {
		size = 4 << 30
	}
	for _, kind := range []string{"shared", "private"} {
		b.Run(fmt.Sprintf("%s/%dMiB", kind, size>>20), func(b *testing.B) {
			pages := size / os.Getpagesize()
			seg, f := newSegment(b, "seg", pages)
			c := start(b, f)
			c.do(fmt.Sprint(kind, " 3 0 ", pages), fmt.Sprint("touch 0 0 ", pages))
			if kind == "private" {
				c.do(fmt.Sprint("write 0 0 ", pages, " 10"))
			}
			s := newTestSampler(b)
			s.Update([]Target{target(0, c, seg)}, []Segment{seg})
			s.after(0)
			s.calls.longest = 0
			before := threadCPU()
			for b.Loop() {
				s.round(b, []Segment{seg})
			}
			b.ReportMetric(float64(s.calls.longest.Microseconds()), "µs-longest-call")
			b.ReportMetric((threadCPU()-before).Seconds()*1e3/float64(b.N), "ms-cpu/op")
		})
	}
}

// round is T0 and T1 of every worker, and the sweep.
func (s *testSampler) round(b *testing.B, segments []Segment) {
	for _, w := range s.workers {
		s.status(w)
		for _, m := range w.members {
			if err := m.scan(segments, false, &s.text, s.scanner); err != nil {
				b.Fatal(err)
			}
		}
		s.changed(w)
	}
	s.count()
}

// hugeMemfd makes a memfd of huge pages.
func hugeMemfd(b *testing.B, size int) (Segment, *os.File) {
	b.Helper()
	fd, err := unix.MemfdCreate("huge", unix.MFD_CLOEXEC)
	if err != nil {
		b.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "huge")
	b.Cleanup(func() { f.Close() })
	if err := f.Truncate(int64(size)); err != nil {
		b.Fatal(err)
	}
	m, err := mapAligned(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; i < size; i += 2 << 20 {
		m[i] = 1
	}
	for i := 0; i < size; i += 16 << 20 {
		part := m[i:min(i+16<<20, size)]
		deadline := time.Now().Add(time.Minute)
		for err = unix.EAGAIN; errors.Is(err, unix.EAGAIN) && time.Now().Before(deadline); {
			err = unix.Madvise(part, unix.MADV_COLLAPSE)
		}
		if err != nil {
			b.Skipf("cannot make huge pages here (Linux 6.1): %v", err)
		}
	}
	if err := unix.MunmapPtr(unsafe.Pointer(&m[0]), uintptr(size)); err != nil {
		b.Fatal(err)
	}
	return segmentOf(b, "huge", f), f
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
				s.round(b, segments)
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
