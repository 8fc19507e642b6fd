// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// Processes that come, go and change while they are read.

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A worker that starts one program after the other: each has the worker's address space until its exec, and ends soon.
func TestShortLivedProgramsOfAWorkerNeverCountItTwice(t *testing.T) {
	seg, f := newSegment(t, "seg", segPages)
	c := start(t, f)
	c.do("private 3 0 4096", "touch 0 0 4096", "write 0 0 1000 1", "anon 33554432", "churn")
	s := newTestSampler(t)
	s.Update([]Target{target(0, c, seg)}, []Segment{seg})
	base := s.after(0).Workers[Key{Worker: 0, Incarnation: 1}]
	if base.RSS == nil {
		t.Fatalf("row = %+v", base)
	}
	rss, most := c.rss(), 0
	for i := range 300 {
		s.nextUsage = s.now // a walk over the tree with each step
		step := time.Duration(i%3) * 5 * time.Second
		w := s.after(step).Workers[Key{Worker: 0, Incarnation: 1}]
		most = max(most, len(w.PIDs))
		if w.RSS == nil || *w.RSS < rss*9/10 || *w.RSS > rss*3/2 {
			t.Fatalf("step %d: rss = %v, the worker alone has %d: %+v", i, show(w.RSS), rss, w)
		}
		if w.Private != nil && (*w.Private < 32<<20 || *w.Private > rss*3/2) {
			t.Fatalf("step %d: private = %d: %+v", i, *w.Private, w)
		}
		if d := w.Data[0]; d.COW != nil && (*d.COW != int64(1000*os.Getpagesize()) || *d.RSS != seg.Size || *d.PSS != seg.Size) {
			t.Fatalf("step %d: cow = %d, rss = %d, pss = %d", i, *d.COW, *d.RSS, *d.PSS)
		}
		if w.Sample.Exact && (w.PSS == nil || *w.PSS > rss*3/2 || *w.USS < 32<<20) {
			t.Fatalf("step %d: pss = %v, uss = %v", i, show(w.PSS), show(w.USS))
		}
	}
	t.Logf("at most %d processes at once", most)
}

// So it is where the kernel does not tell whether two processes have one address space.
func TestShortLivedProgramsOfAnotherUserNeverCountItTwice(t *testing.T) {
	by := startThrough(t, docker(t), nil)
	seg, f := newSegment(t, "seg", segPages)
	c := startAs(t, asNobody(), f)
	c.do("private 3 0 4096", "touch 0 0 4096", "anon 33554432", "churn")
	rss := c.rss()
	for range 200 {
		if row := measuredBy(t, by, c, seg); row.RSS == nil || *row.RSS < rss*9/10 || *row.RSS > rss*3/2 {
			t.Fatalf("rss = %v, the worker alone has %d: %+v", show(row.RSS), rss, row)
		}
	}
}

// A worker that forks one child after the other: each maps and copies pages of the segment, and ends soon.
func TestShortLivedForksNeverMakeAFigureWrong(t *testing.T) {
	seg, f := newSegment(t, "seg", segPages)
	c := start(t, f)
	c.do("private 3 0 4096", "touch 0 0 4096", "write 0 0 1000 1", "anon 33554432", "forks 0 0 500")
	s := newTestSampler(t)
	s.Update([]Target{target(0, c, seg)}, []Segment{seg})
	rss, page, trees := c.rss(), int64(os.Getpagesize()), 0
	for i := range 300 {
		s.nextUsage = s.now
		w := s.after(time.Duration(i%3) * 5 * time.Second).Workers[Key{Worker: 0, Incarnation: 1}]
		if w.RSS == nil || *w.RSS < rss*9/10 {
			t.Fatalf("step %d: rss = %v, the worker alone has %d: %+v", i, show(w.RSS), rss, w)
		}
		if len(w.PIDs) > 1 {
			trees++
		}
		// The child writes 500 of the 1000 pages that its parent has copied.
		if d := w.Data[0]; d.COW != nil && (*d.COW < 1000*page || *d.COW > 1500*page) {
			t.Fatalf("step %d: cow = %d pages", i, *d.COW/page)
		}
	}
	t.Logf("%d of 300 steps met a child", trees)
	c.end()
}

// When only other threads are left, /proc/PID shows a zombie, whose figures are zeros.
func TestAProcessWhoseFirstThreadHasEndedHasItsFigures(t *testing.T) {
	seg, f := newSegment(t, "seg", segPages)
	c := start(t, f)
	c.do("shared 3 0 4096", "touch 0 0 4096", "anon 33554432")
	s := newTestSampler(t)
	s.Update([]Target{target(0, c, seg)}, []Segment{seg})
	before := s.after(0).Workers[Key{Worker: 0, Incarnation: 1}]
	if answer := c.ask("endfirst"); answer != "ok" {
		t.Skip("the helper is not on its first thread")
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.pid))
		if err == nil && strings.Contains(string(text), "Z (zombie)") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the first thread goes on: %v %s", err, text)
		}
	}
	for i := range 3 { // by the next tick, by a scan, by a walk
		s.nextUsage = s.now.Add(time.Duration(i%2) * time.Hour)
		w := s.after(10 * time.Second).Workers[Key{Worker: 0, Incarnation: 1}]
		if w.RSS == nil {
			t.Fatalf("row = %+v", w)
		}
		checkNear(t, "rss", w.RSS, *before.RSS, 1<<20)
		checkNear(t, "private", w.Private, *before.Private, 1<<20)
		checkNear(t, "data", w.Data[0].RSS, seg.Size, 0)
		checkNear(t, "pss", w.PSS, *before.PSS, 1<<20)
		if w.FDs != nil || !strings.Contains(w.Sample.Error, "first thread") {
			t.Errorf("%d descriptors, %q", *w.FDs, w.Sample.Error)
		}
	}
	// As a member of a tree that is met like this for the first time.
	m, err := openMember("/proc", c.pid, &textReader{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	if m.now.rssAnon < 32<<20 {
		t.Errorf("status = %+v", m.now)
	}
	c.end()
	if w := s.after(10 * time.Second).Workers[Key{Worker: 0, Incarnation: 1}]; w.RSS != nil || w.Sample.Error == "" {
		t.Errorf("row of a worker that ended: %+v", w)
	}
}

// What was opened before an exec shows an address space that is no more, without an error.
func TestAScanOfAnAddressSpaceThatHasEndedFails(t *testing.T) {
	c := start(t)
	c.do("sync")
	s := newScanner("/proc", &callTimer{})
	for _, end := range []func(){
		func() { c.do("become", "sync") },
		c.end,
	} {
		fd, err := openProc(fmt.Sprintf("/proc/%d/pagemap", c.pid))
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if err := s.alive(fd); err != nil {
			t.Fatal(err)
		}
		end()
		if err := s.alive(fd); !errors.Is(err, unix.ESRCH) {
			t.Errorf("the end of the address space was not noticed: %v", err)
		}
	}
}

func TestAWorkerThatExecutesAnotherProgramIsReadAnew(t *testing.T) {
	seg, f := newSegment(t, "seg", 256)
	c := start(t, f)
	c.do("shared 3 0 256", "touch 0 0 256", "anon 33554432")
	s := newTestSampler(t)
	s.Update([]Target{target(0, c, seg)}, []Segment{seg})
	s.after(0)
	c.do("become", "sync")
	w := s.after(10 * time.Second).Workers[Key{Worker: 0, Incarnation: 1}]
	if *w.Private > 32<<20 || *w.Data[0].RSS != 0 || w.Sample.Error != "" {
		t.Errorf("row = %+v", w)
	}
}

// The number of a worker that has ended may be another process's before its owner says so.
func TestTheNumberOfAWorkerThatEndedIsNotOpenedAgain(t *testing.T) {
	proc := t.TempDir()
	c := start(t)
	c.do("sync")
	link := filepath.Join(proc, "100")
	if err := os.Symlink("/proc/"+strconv.Itoa(c.pid), link); err != nil {
		t.Fatal(err)
	}
	w := &worker{Target: Target{PID: 100}}
	defer w.close()
	r := newReader(proc)
	r.walk(w)
	if len(w.members) != 1 {
		t.Fatalf("members = %v, %v", w.members, w.treeErr)
	}
	c.end()
	other := start(t)
	other.do("sync")
	if err := errors.Join(os.Remove(link), os.Symlink("/proc/"+strconv.Itoa(other.pid), link)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r.walk(w)
		if row := w.row(ioctlScan, 4096); row.RSS != nil || row.Sample.Error == "" {
			t.Errorf("row = %+v", row)
		}
	}
}

// rss is what the kernel says of the process alone.
func (c *child) rss() int64 { return readSmaps(c.t, c.pid, "smaps_rollup")[0].fields["Rss"] }

func show[T int64 | float64](v *T) any {
	if v == nil {
		return "unknown"
	}
	return *v
}
