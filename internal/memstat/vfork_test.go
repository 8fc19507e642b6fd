// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// Children of vfork, which have their parent's address space until they call exec: as Go and Python start programs.

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestAChildOfVforkIsNotCountedBesideItsParent(t *testing.T) {
	for name, orders := range map[string][]string{
		"": nil, "the parent's first thread has ended": {"endfirst"},
	} {
		t.Run(name, func(t *testing.T) { testVfork(t, orders...) })
	}
}

func testVfork(t *testing.T, orders ...string) {
	program, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, program, 0o700); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	// Who opens a leased file waits until its holder gives it up, an exec does, too.
	lease := int(file.Fd())
	if _, err := unix.FcntlInt(uintptr(lease), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Skipf("cannot lease a file here: %v", err)
	}
	seg, f := newSegment(t, "seg", 256)
	c := start(t, f, file)
	c.do("shared 3 0 256", "touch 0 0 256")
	c.do(orders...)
	c.do("starts 4")
	for deadline := time.Now().Add(10 * time.Second); ; {
		kind, err := unix.FcntlInt(uintptr(lease), unix.F_GETLEASE, 0)
		if err != nil {
			t.Fatal(err)
		}
		if kind != unix.F_WRLCK {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the child does not call exec")
		}
	}
	s := newTestSampler(t)
	children, err := s.tree(c.pid)
	if err != nil || len(children) != 2 {
		t.Fatalf("the tree is %v, %v: the test would prove nothing", children, err)
	}
	s.Update([]Target{target(0, c, seg)}, []Segment{seg})
	s.after(0)
	row := s.after(2 * time.Second).Workers[Key{Worker: 0, Incarnation: 1}]
	if !slices.Equal(row.PIDs, []int{c.pid}) {
		t.Errorf("pids %v, want %d alone", row.PIDs, c.pid)
	}
	checkNear(t, "data", row.Data[0].RSS, seg.Size, 0)
	if _, err := unix.FcntlInt(uintptr(lease), unix.F_SETLEASE, unix.F_UNLCK); err != nil {
		t.Error(err)
	}
}

func TestWhatMayBeOneAddressSpaceGoingByItsFigures(t *testing.T) {
	const kib, mib = 1 << 10, 1 << 20
	parent := status{rssAnon: 20 * mib, rssFile: 12 * mib, rssShmem: 64 * mib, pageTables: 300 * kib}
	for name, c := range map[string]struct {
		change func(*status)
		want   bool
	}{
		"the same":                         {func(*status) {}, true},
		"another thread took memory":       {func(s *status) { s.rssAnon += 900 * kib }, true},
		"another thread read files":        {func(s *status) { s.rssFile += 900 * kib }, true},
		"another thread read the data":     {func(s *status) { s.rssShmem -= 900 * kib }, true},
		"a fork has no pages of files":     {func(s *status) { s.rssFile = 4 * mib }, false},
		"a fork has no shared memory":      {func(s *status) { s.rssShmem = 0 }, false},
		"a fork has written":               {func(s *status) { s.rssAnon += 2 * mib }, false},
		"a fork has fewer page tables":     {func(s *status) { s.pageTables -= 60 * kib }, false},
		"what is in swap is another's too": {func(s *status) { s.swap = mib }, false},
	} {
		child := parent
		c.change(&child)
		if alike(&child, &parent) != c.want || alike(&parent, &child) != c.want {
			t.Errorf("%s: want %v", name, c.want)
		}
	}
	// Of a small program an eighth is a lot less than 1 MiB.
	small := status{rssAnon: 100 * kib, rssFile: 800 * kib, pageTables: 40 * kib}
	forked := small
	forked.rssFile = 400 * kib
	if alike(&forked, &small) {
		t.Error("a fork of a small program is taken for its parent")
	}
}
