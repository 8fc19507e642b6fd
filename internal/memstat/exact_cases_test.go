// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// Lives that chance would seldom lead.

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// newCase makes a fleet of some workers over one segment of 4 KiB pages.
func newCase(t *testing.T, workers int) *fleetUnderTest {
	t.Helper()
	f := &fleetUnderTest{t: t, books: openBooks(t)}
	seg, file := newSegment(t, "seg", 256)
	f.segments = []Segment{seg}
	f.sources = []*source{{name: "seg", file: file, pages: 256}, {name: "anonymous", pages: 256, writable: true}}
	f.sampler = newTestSampler(t)
	f.trees = make([]*tree, workers)
	for i := range f.trees {
		f.start(i)
	}
	return f
}

// agree takes a sample and compares every worker, not the fleet.
func (f *fleetUnderTest) agree() *Fleet {
	f.t.Helper()
	return f.untilAtRest(func(fleet *Fleet, want []truth) {
		for i, w := range f.trees {
			f.compareWorker(fmt.Sprintf("worker %d %v ", i, w.pids()), fleet.Workers[w.target.Key], w, want[i], true)
		}
	})
}

// untilAtRest compares until all agrees, as another process of the machine may map a page of a file between sample and
// books, but not for ever.
func (f *fleetUnderTest) untilAtRest(compare func(*Fleet, []truth)) *Fleet {
	f.t.Helper()
	for range 20 {
		fleet, want := f.sample(true), f.read()
		if f.books.quietly(func() { compare(fleet, want) }) {
			return fleet
		}
	}
	fleet := f.sample(true)
	compare(fleet, f.read())
	return fleet
}

const mapWrite = mapPrivate | mapWritable

// twoPairs has copies of 50 pages that are the same in two processes, others of them in two more, and 50 in all four.
func twoPairs(f *fleetUnderTest) (cow int64) {
	w := f.trees[0]
	leader := w.processes[0]
	m := w.add(leader, f.sources[0], 3, 0, 256, mapWrite)
	w.write(leader, m, 0, 100, 1)
	second := w.fork(leader)
	w.write(second, second.maps[0], 0, 50, 1)
	w.fork(leader)
	w.fork(second)
	return 150
}

// twoMappings has copies of 100 pages in one mapping and others of them in another, each of them in two processes.
func twoMappings(f *fleetUnderTest) (cow int64) {
	w := f.trees[0]
	leader := w.processes[0]
	for range 2 {
		w.write(leader, w.add(leader, f.sources[0], 3, 0, 256, mapWrite), 0, 100, 1)
	}
	w.fork(leader)
	return 200
}

func TestCopiesOfOnePageThatAreNotTheSameAreCountedApart(t *testing.T) {
	for name, lead := range map[string]func(*fleetUnderTest) int64{
		"two pairs of processes": twoPairs, "two mappings of one process that forked": twoMappings,
	} {
		t.Run(name, func(t *testing.T) {
			f := newCase(t, 1)
			pages := lead(f)
			row := f.agree().Workers[f.trees[0].target.Key]
			checkNear(t, "cow", row.Data[0].COW, pages*int64(os.Getpagesize()), 0)
		})
	}
}

// As root in a container mostly is. Then the kernel shows no frames.
func TestWithoutSysAdminOnlyTheCopyOfAForkThatForkedIsMissed(t *testing.T) {
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		t.Skip("needs setpriv (util-linux)")
	}
	for name, tc := range map[string]struct {
		lead   func(*fleetUnderTest) int64
		missed int64
	}{
		"two pairs of processes": {twoPairs, 50}, "two mappings of one process that forked": {twoMappings, 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := newCase(t, 1)
			pages := tc.lead(f) - tc.missed
			by := startThrough(t, []string{setpriv, "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"}, nil)
			row := measuredBy(t, by, &child{pid: f.trees[0].processes[0].pid}, f.segments[0])
			checkNear(t, "cow", row.Data[0].COW, pages*int64(os.Getpagesize()), 0)
			want := f.read()[0]
			f.books.agree("private", row.Private, want.pssAnon, int64(want.processes)*kib, 0)
		})
	}
}

// Where the data is kept locked, preforkd's own mapping is in the kernel's counts and in none of ours.
func TestALockedSegmentDilutesNoShare(t *testing.T) {
	for _, workers := range []int{1, 3} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			f := newCase(t, workers)
			whole, err := unix.Mmap(int(f.sources[0].file.Fd()), 0, 256*os.Getpagesize(), unix.PROT_READ,
				unix.MAP_SHARED|unix.MAP_POPULATE)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = unix.Munmap(whole) }()
			f.books.outside = 1
			f.segments[0].Locked = true
			for i, w := range f.trees {
				p := w.processes[0]
				w.touch(p, w.add(p, f.sources[0], 3, 0, 256, 0), 0, 200+10*i)
				w.write(p, w.add(p, f.sources[1], -1, 0, 100, mapWritable), 0, 100, 1) // as torch has it
			}
			f.agree()
			for i, w := range f.sampler.workers {
				if w.doubts != 0 {
					t.Errorf("worker %d: the figures do not agree with each other", i)
				}
			}
		})
	}
}

// Workers open a direct: dataset themselves. It is in no segment, so there is nothing to be counted, and all else stands.
func TestAVersionThatIsInNoSegmentLeavesTheOtherFiguresAlone(t *testing.T) {
	f := newCase(t, 2)
	var targets []Target
	for _, w := range f.trees {
		p := w.processes[0]
		w.touch(p, w.add(p, f.sources[0], 3, 0, 256, 0), 0, 256)
		w.target.Versions = []SegKey{f.segments[0].SegKey, {Name: "direct", Version: 1}}
		targets = append(targets, w.target)
	}
	f.sampler.Update(targets, f.segments)
	fleet := f.sampler.after(2 * time.Minute)
	for _, w := range f.trees {
		row := fleet.Workers[w.target.Key]
		if !row.Sample.Exact || row.Sample.Error != "" {
			t.Errorf("sample = %+v", row.Sample)
		}
		checkNear(t, "pss", row.Data[0].PSS, f.segments[0].Size/2, 0)
		if d := row.Data[1]; d.Name != "direct" || d.RSS != nil || d.PSS != nil || d.COW != nil || d.Huge != nil {
			t.Errorf("of the direct dataset there is %+v", d)
		}
	}
	m := Totals(Account{
		Workers: []*Worker{fleet.Workers[targets[0].Key], fleet.Workers[targets[1].Key]},
		Data:    f.segments[0].Size, Newest: f.segments[0].Size, Ready: 2, Full: 2 * f.segments[0].Size,
		Supervisor: new(int64(0)),
	})
	checkNear(t, "saved", m.Saved, f.segments[0].Size, 0)
	checkNear(t, "saved_full", m.SavedFull, f.segments[0].Size, 0)
	if m.Used == nil || m.Copies == nil || *m.Copies != 1 {
		t.Errorf("account = %+v", m)
	}
	// News of something else is no reason to read anything again.
	at := *fleet.Workers[targets[0].Key].Sample.At
	f.sampler.Update(targets, f.segments)
	if row := f.sampler.after(0).Workers[targets[0].Key]; !row.Sample.At.Equal(at) {
		t.Error("the worker was read again")
	}
	// With nothing but direct: data there is nothing to be unknown either.
	for i := range targets {
		targets[i].Versions = targets[i].Versions[1:]
	}
	f.sampler.Update(targets, nil)
	row := f.sampler.after(2 * time.Minute).Workers[targets[0].Key]
	checkNear(t, "mapped", row.Mapped, 0, 0)
	if row.OtherShared == nil || !row.Sample.Exact || row.Data[0].RSS != nil {
		t.Errorf("row = %+v", row)
	}
}

// A worker that shares nothing but a third of the segment. PSS is a sum of fractions that the kernel cuts to KiB, as it
// cuts each of its parts; USS is whole pages, and is not to be pulled down to a PSS that was cut.
func TestUSSIsNotCutWhereNothingElseIsShared(t *testing.T) {
	const k = 1 << 10
	third := 1024. * k / 3
	cut := func(bytes float64) int64 { return int64(bytes) / k * k }
	r := rest{
		rollup: rollup{
			rss: (1000 + 400 + 1024) * k, pss: cut(1400*k + third),
			pssAnon: 1000 * k, pssShmem: cut(400*k + third), privateDirty: 1400 * k,
		},
		anon: map[int]int64{1: 1000 * k}, rssAnon: 1000 * k, rssShmem: (400 + 1024) * k,
	}
	if !r.settle(segmentsPart{present: 1024 * k, share: third, pss: third}) {
		t.Error("the figures are said not to agree")
	}
	checkNear(t, "uss", &r.uss, 1400*k, 0)
	checkNear(t, "pss", &r.pss, 1400*k, 0)
	checkNear(t, "other shared", &r.shared, 400*k, k)
}

// Where data is kept locked preforkd has page tables like a worker that maps it.
func TestPreforkdsOwnPageTablesAreItsOwn(t *testing.T) {
	_, file := newSegment(t, "seg", 64<<20/os.Getpagesize())
	s := newTestSampler(t)
	s.readSelf(s.now)
	before := s.self
	whole, err := unix.Mmap(int(file.Fd()), 0, 64<<20, unix.PROT_READ, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(whole) }()
	s.readSelf(s.now.Add(time.Hour))
	if grown := *s.self.PageTables - *before.PageTables; grown < 100<<10 {
		t.Errorf("the page tables grew by %d bytes", grown)
	}
	if grown := *s.self.PSS - *before.PSS; grown > 32<<20 {
		t.Errorf("PSS grew by %d bytes: a segment is in it", grown)
	}
	checkNear(t, "held", s.self.Held(), *s.self.PSS+*s.self.PageTables, 0)
}

// A process outside the fleet that maps the data, such as a daemon that left its worker's tree. The kernel divides by one
// more than the sweep; what stands all the same must, and the rest has its bounds.
func TestAStrangerThatMapsTheDataDilutesNoShare(t *testing.T) {
	f := newCase(t, 2)
	stranger := f.trees[1]
	f.trees = f.trees[:1]
	f.sampler.Update([]Target{f.trees[0].target}, f.segments)
	for _, w := range []*tree{f.trees[0], stranger} {
		p := w.processes[0]
		w.touch(p, w.add(p, f.sources[0], 3, 0, 256, 0), 0, 256)
	}
	f.books.outside = 1
	f.untilAtRest(func(fleet *Fleet, books []truth) {
		row, want := fleet.Workers[f.trees[0].target.Key], books[0]
		b := f.books
		b.agree("rss", row.RSS, float64(want.rss), 0, 0)
		b.agree("private", row.Private, float64(want.anon), 0, 0)
		b.agree("data rss", row.Data[0].RSS, float64(want.data[0].rss), 0, 0)
		b.agree("data pss", row.Data[0].PSS, want.data[0].pss, 0, 0)
		b.agree("pss", row.PSS, want.pss, 2*kib, 0)
		b.agree("uss", row.USS, float64(want.uss), int64(want.shared.pss), 0)
	})
}
