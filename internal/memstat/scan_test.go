// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// The page scan by its two ways, and huge pages.

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"
)

// Both ways of scanning give the same runs.
func TestPagemapGivesTheSameRunsAsTheScan(t *testing.T) {
	seg, f := newSegment(t, "seg", segPages)
	c := start(t, f)
	c.do("private 3 0 4096", "touch 0 0 3000", "write 0 5 2000 3", "shared 3 1000 2000", "touch 1 0 700")
	c.do("fork 0 100 300")
	r := newReader("/proc")
	if !r.scanner.ioctl {
		t.Skip("PAGEMAP_SCAN needs Linux 6.7")
	}
	old := newScanner("/proc", &r.calls)
	old.ioctl = false
	for _, forked := range []bool{false, true} {
		m, err := openMember("/proc", c.pid, &r.text)
		if err != nil {
			t.Fatal(err)
		}
		defer m.close()
		if err := m.scan([]Segment{seg}, forked, &r.text, r.scanner); err != nil {
			t.Fatal(err)
		}
		scanned := m.layers[0]
		if err := m.scan([]Segment{seg}, forked, &r.text, old); err != nil {
			t.Fatal(err)
		}
		if len(scanned) != 2 || len(m.layers[0]) != 2 {
			t.Fatalf("%d and %d layers, want 2", len(scanned), len(m.layers[0]))
		}
		for i := range scanned {
			a, b := decode(scanned[i]), decode(m.layers[0][i])
			if !slices.Equal(a, b) {
				t.Errorf("forked %v, layer %d: the scan says %v, pagemap %v", forked, i, a, b)
			}
		}
	}
}

func TestTheWholeSamplerWorksWithoutPagemapScan(t *testing.T) {
	seg, f := newSegment(t, "seg", segPages)
	a, b := start(t, f), start(t, f)
	a.do("private 3 0 4096", "touch 0 0 4096", "write 0 0 4096 2")
	b.do("shared 3 0 4096", "touch 0 0 2048")
	s := newTestSampler(t)
	s.scanner.ioctl = false
	s.Update([]Target{target(0, a, seg), target(1, b, seg)}, []Segment{seg})
	s.after(0)
	fleet := s.after(2 * time.Second)
	for i, c := range []*child{a, b} {
		w := fleet.Workers[Key{Worker: i, Incarnation: 1}]
		checkWorker(t, w, seg, c.pid)
		if w.Sample.Source != "pagemap+smaps_rollup" || w.Data[0].Huge != nil {
			t.Errorf("source %q, huge %v", w.Sample.Source, w.Data[0].Huge)
		}
	}
}

func TestHugePagesAreTold(t *testing.T) {
	const size = 8 << 20
	seg, f := newHugeSegment(t, "huge", size)
	pages := size / os.Getpagesize()
	a, b := start(t, f), start(t, f)
	a.do(fmt.Sprint("shared 3 0 ", pages), fmt.Sprint("touch 0 0 ", pages/2))
	b.do(fmt.Sprint("private 3 0 ", pages), fmt.Sprint("touch 0 0 ", pages), "write 0 0 1 1", "touch 0 0 8")
	s := newTestSampler(t)
	if !s.scanner.ioctl {
		t.Skip("PAGEMAP_SCAN needs Linux 6.7")
	}
	s.Update([]Target{target(0, a, seg), target(1, b, seg)}, []Segment{seg})
	s.after(0)
	fleet := s.after(2 * time.Second)
	for i, c := range []*child{a, b} {
		w := fleet.Workers[Key{Worker: i, Incarnation: 1}]
		checkWorker(t, w, seg, c.pid)
		want := kernelFigures(t, seg, c.pid).seg["ShmemPmdMapped"]
		checkNear(t, "huge", w.Data[0].Huge, want, 0)
		if want == 0 {
			t.Skip("there are no huge pages to be had here")
		}
	}
}
