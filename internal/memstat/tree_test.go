// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// Workers that are trees of processes, and processes that come and go.

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestPagesCopiedBeforeAForkAreOneCopy(t *testing.T) {
	page := int64(os.Getpagesize())
	seg, f := newSegment(t, "seg", segPages)
	c := start(t, f)
	c.do("private 3 0 4096", "touch 0 0 4096", "write 0 0 100 1")
	first := c.do("fork 0 0 10")    // its own copies of 10 of the 100
	second := c.do("fork 0 90 130") // its own copies of 10 of the 100 and of 30 more
	other := start(t, f)
	other.do("shared 3 0 4096", "touch 0 0 4096")
	s := newTestSampler(t)
	s.Update([]Target{target(0, c, seg), target(1, other, seg)}, []Segment{seg})
	s.after(0)
	fleet := s.after(2 * time.Second)
	w := fleet.Workers[Key{Worker: 0, Incarnation: 1}]
	checkWorker(t, w, seg, c.pid, first, second)
	checkWorker(t, fleet.Workers[Key{Worker: 1, Incarnation: 1}], seg, other.pid)
	checkNear(t, "cow", w.Data[0].COW, 150*page, 0)
	if got, want := fmt.Sprint(w.PIDs), fmt.Sprint([]int{c.pid, first, second}); got != want {
		t.Errorf("pids = %s, want %s", got, want)
	}
}

func TestAProcessThatJoinsOrLeavesTheTreeIsCounted(t *testing.T) {
	seg, f := newSegment(t, "seg", segPages)
	c := start(t, f)
	c.do("shared 3 0 4096", "touch 0 0 4096")
	s := newTestSampler(t)
	s.Update([]Target{target(0, c, seg)}, []Segment{seg})
	s.after(0)
	s.after(2 * time.Second)
	// A forked child has no page of a shared mapping until it touches it, so this one adds itself and nothing else.
	pid := c.do("fork 0 0 0")
	s.after(time.Second) // notices it
	w := s.after(2 * time.Second).Workers[Key{Worker: 0, Incarnation: 1}]
	checkWorker(t, w, seg, c.pid, pid)
	c.do(fmt.Sprint("kill ", pid))
	w = s.after(time.Second).Workers[Key{Worker: 0, Incarnation: 1}]
	if len(w.PIDs) != 1 {
		t.Errorf("pids = %v after the child ended", w.PIDs)
	}
	checkWorker(t, s.after(2 * time.Second).Workers[Key{Worker: 0, Incarnation: 1}], seg, c.pid)
}

func TestSharesFollowWhoIsThereWithoutReadingAgain(t *testing.T) {
	seg, f := newSegment(t, "seg", segPages)
	var targets []Target
	for i := range 4 {
		c := start(t, f)
		c.do("shared 3 0 4096", "touch 0 0 4096")
		targets = append(targets, target(i, c, seg))
	}
	s := newTestSampler(t)
	s.Update(targets, []Segment{seg})
	s.after(0)
	before := s.after(2 * time.Second).Workers[targets[0].Key]
	checkNear(t, "pss of four", before.Data[0].PSS, seg.Size/4, 0)
	open := openDescriptors(t)
	s.Update(targets[:2:2], []Segment{seg})
	after := s.after(0).Workers[targets[0].Key]
	checkNear(t, "pss of two", after.Data[0].PSS, seg.Size/2, 0)
	checkNear(t, "pss of two", after.PSS, *before.PSS+seg.Size/4, 0)
	if !after.Sample.At.Equal(*before.Sample.At) {
		t.Error("the worker was read again")
	}
	s.Update(targets[:1:1], []Segment{seg})
	last := s.after(0)
	checkNear(t, "pss of one", last.Workers[targets[0].Key].Data[0].PSS, seg.Size, 0)
	checkNear(t, "uss of one", last.Workers[targets[0].Key].USS, *before.USS+seg.Size, 0)
	if len(last.Workers) != 1 {
		t.Errorf("%d rows for one worker", len(last.Workers))
	}
	if got := openDescriptors(t); got != open-3 {
		t.Errorf("%d descriptors are open, %d were with three workers more", got, open)
	}
}

func TestAStaleNeighbourDoesNotSpoilTheRest(t *testing.T) {
	seg, f := newSegment(t, "seg", segPages)
	a, b := start(t, f), start(t, f)
	a.do("shared 3 0 4096", "touch 0 0 4096")
	b.do("shared 3 0 4096")
	s := newTestSampler(t)
	s.Update([]Target{target(0, a, seg), target(1, b, seg)}, []Segment{seg})
	s.after(0)
	s.after(2 * time.Second)
	// Now b touches all, which only a new scan of b would show, and a alone is read again.
	b.do("touch 0 0 4096")
	w := s.workers[0]
	if !s.sampleOne(w, true, s.now) {
		t.Fatal("interrupted")
	}
	s.count()
	k := kernelFigures(t, seg, a.pid)
	checkNear(t, "pss outside the segment", &w.rest.pss, k.all["Pss_Anon"]+k.all["Pss_File"], 256<<10)
	if w.doubts != 1 || w.rest.uss < 0 || w.rest.uss > w.rest.pss {
		t.Errorf("doubts = %d, uss outside the segment = %d, pss %d", w.doubts, w.rest.uss, w.rest.pss)
	}
	// Ten seconds later everything has been scanned, and the figures are the kernel's again.
	fleet := s.after(10 * time.Second)
	checkWorker(t, fleet.Workers[Key{Worker: 0, Incarnation: 1}], seg, a.pid)
	checkWorker(t, fleet.Workers[Key{Worker: 1, Incarnation: 1}], seg, b.pid)
}

func TestAWorkerThatEndedHasNoFigures(t *testing.T) {
	seg, f := newSegment(t, "seg", 16)
	c := start(t, f)
	c.do("shared 3 0 16", "touch 0 0 16")
	s := newTestSampler(t)
	s.Update([]Target{target(0, c, seg)}, []Segment{seg})
	if w := s.after(0).Workers[Key{Worker: 0, Incarnation: 1}]; w.RSS == nil {
		t.Fatalf("no figures of a live worker: %+v", w)
	}
	c.end() // ended and reaped, while the sampler still has it as a target
	w := s.after(time.Second).Workers[Key{Worker: 0, Incarnation: 1}]
	if w.RSS != nil || w.PSS != nil || w.Data[0].RSS != nil || w.Sample.Exact || w.Sample.Error == "" {
		t.Errorf("row of a worker that ended: %+v", w)
	}
}

func TestAZombieHasNoFigures(t *testing.T) {
	c := start(t)
	c.do("sync")
	s := newTestSampler(t)
	s.Update([]Target{target(0, c)}, nil)
	s.after(0)
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		w := s.after(time.Second).Workers[Key{Worker: 0, Incarnation: 1}]
		if w.RSS == nil && w.Sample.Error != "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("row of a zombie: %+v", w)
		}
	}
}

// A child's number may be another process's by the time it is opened. That one has another parent.
func TestANumberUsedAgainIsNotTakenForAChild(t *testing.T) {
	proc := t.TempDir()
	status := func(parent string) string {
		return strings.Replace(string(fixture(t, "linux-5.4/status")), "PPid:\t4200", "PPid:\t"+parent, 1)
	}
	for name, text := range map[string]string{
		"100/status":            status("1"),
		"100/task/100/children": "200 300 ",
		"200/status":            status("100"),
		"300/status":            status("77"),
	} {
		path := filepath.Join(proc, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w := &worker{Target: Target{PID: 100}}
	defer w.close()
	newReader(proc).walk(w)
	if len(w.members) != 2 || w.members[0].pid != 100 || w.members[1].pid != 200 {
		t.Errorf("members = %+v", w.members)
	}
	row := w.row(ioctlScan, 4096)
	checkNear(t, "rss", row.RSS, 2*113344<<10, 0)
	checkNear(t, "swap", row.Swap, 2*64<<10, 0)
	if row.Private != nil || row.PSS != nil || row.FDs != nil || row.Sample.Error == "" {
		t.Errorf("row = %+v", row)
	}
}
