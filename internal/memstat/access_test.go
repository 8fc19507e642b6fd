// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// Processes that may not be looked into.

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What the kernel refuses is nil with the reason; what it shows to everybody stands.
func TestRefusedFiguresAreNilWithAReason(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to have processes of two users")
	}
	seg, f := newSegment(t, "seg", 256)
	c := start(t, f)
	c.do("private 3 0 256", "touch 0 0 256")
	row := measuredBy(t, startAs(t, asNobody()), c, seg)
	if row.RSS == nil || row.Private == nil || row.Swap == nil || row.PageTables == nil ||
		row.CPUSeconds == nil || row.Threads == nil {
		t.Errorf("what everybody may read is missing: %+v", row)
	}
	if row.PSS != nil || row.USS != nil || row.OtherShared != nil || row.Mapped != nil || row.FDs != nil ||
		row.Sample.Exact {
		t.Errorf("there are figures that cannot have been read: %+v", row)
	}
	if d := row.Data; len(d) != 1 || d[0].RSS != nil || d[0].PSS != nil || d[0].COW != nil || d[0].Huge != nil {
		t.Errorf("data = %+v", d)
	}
	for _, name := range []string{"pagemap", "smaps_rollup", "/fd", "permission denied", "run it as the workers' user"} {
		if !strings.Contains(row.Sample.Error, name) {
			t.Errorf("the reason does not say %q: %s", name, row.Sample.Error)
		}
	}
	if n := strings.Count(row.Sample.Error, "CAP_SYS_PTRACE"); n != 1 {
		t.Errorf("what to do is said %d times: %s", n, row.Sample.Error)
	}
}

func TestAnotherUsersProcessIsReadByRoot(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to have processes of two users")
	}
	seg, f := newSegment(t, "seg", 256)
	c := startAs(t, asNobody(), f)
	c.do("private 3 0 256", "touch 0 0 256", "write 0 0 5 1")
	row := measuredBy(t, start(t), c, seg)
	if row.Sample.Error != "" || row.FDs == nil {
		t.Errorf("row = %+v", row)
	}
	checkNear(t, "cow", row.Data[0].COW, 5*int64(os.Getpagesize()), 0)
}

// Root in a container has no CAP_SYS_PTRACE. It looks as the worker's own user, and is itself again afterwards.
func TestRootWithoutPtraceReadsAnotherUsersProcess(t *testing.T) {
	by := startThrough(t, docker(t), nil)
	seg, f := newSegment(t, "seg", 256)
	c := startAs(t, asNobody(), f)
	c.do("private 3 0 256", "touch 0 0 256", "write 0 0 5 1")
	child := c.do("fork 0 0 3")
	before := by.ask("look")
	row := measuredBy(t, by, c, seg)
	checkWhole(t, row, 2)
	checkNear(t, "cow", row.Data[0].COW, 8*int64(os.Getpagesize()), 0)
	if row.PIDs[1] != child || row.FDs == nil {
		t.Errorf("row = %+v", row)
	}
	if after := by.ask("look"); after != before || !strings.HasPrefix(before, "ok 1 ") {
		t.Errorf("the process that looked is %q now, was %q", after, before)
	}
}

// What is not dumpable may be read with CAP_SYS_PTRACE only.
func TestAProcessThatIsNotDumpable(t *testing.T) {
	var segs [3]Segment // one each: a process outside the fleet that has the data too leaves no row exact
	var files [3]*os.File
	for i := range segs {
		segs[i], files[i] = newSegment(t, "seg", 256)
	}
	root := startThrough(t, docker(t), nil)
	hidden := startAs(t, asNobody(), files[0])
	hidden.do("shared 3 0 256", "touch 0 0 256", "hide")
	own := startThrough(t, docker(t), nil, files[1]) // of the user that looks
	own.do("shared 3 0 256", "touch 0 0 256", "hide")
	unreadable := startCommand(t, []string{copyWithMode(t, 0o111)}, asNobody(), files[2])
	unreadable.do("shared 3 0 256", "touch 0 0 256")
	equal := startAs(t, asNobody())
	for what, row := range map[string]Worker{
		"root, another user's":               measuredBy(t, root, hidden, segs[0]),
		"root, its own":                      measuredBy(t, root, own, segs[1]),
		"root, a program of mode 0111":       measuredBy(t, root, unreadable, segs[2]),
		"its own user":                       measuredBy(t, equal, hidden, segs[0]),
		"its own user, program of mode 0111": measuredBy(t, equal, unreadable, segs[2]),
	} {
		if row.RSS == nil || row.Private == nil || row.PageTables == nil || row.CPUSeconds == nil || row.Threads == nil {
			t.Errorf("%s: what everybody may read is missing: %+v", what, row)
		}
		checkUnknown(t, what, row)
		if !strings.Contains(row.Sample.Error, "not dumpable") {
			t.Errorf("%s: the reason is %q", what, row.Sample.Error)
		}
	}
	for i, c := range []*child{hidden, own, unreadable} {
		checkWhole(t, measuredBy(t, start(t), c, segs[i]), 1)
	}
}

func TestHidepid(t *testing.T) {
	docker := docker(t)
	seg, f := newSegment(t, "seg", 256)
	c := startAs(t, asNobody(), f)
	c.do("shared 3 0 256", "touch 0 0 256")
	other, g := newSegment(t, "other", 256)
	ours := start(t, g)
	ours.do("shared 3 0 256", "touch 0 0 256")
	for mode := 1; mode <= 2; mode++ {
		through := hidepid(t, mode)
		root := startThrough(t, through, nil)
		checkWhole(t, measuredBy(t, root, c, seg), 1)
		contained := startThrough(t, append(through, docker...), nil)
		if row := measuredBy(t, contained, c, seg); mode == 1 {
			checkWhole(t, row, 1)
		} else { // /proc does not even show whose it is
			checkHidden(t, row)
		}
		stranger := startThrough(t, append(through, docker[0], "--reuid=1", "--regid=1", "--clear-groups"), nil)
		checkHidden(t, measuredBy(t, stranger, ours, other))
		checkHidden(t, measuredBy(t, stranger, c, seg))
	}
}

// A part of a tree would be too little.
func TestATreeWithAHiddenProcessHasNoFigures(t *testing.T) {
	seg, f := newSegment(t, "seg", 256)
	through := hidepid(t, 2)
	c := startThrough(t, docker(t), nil, f)
	c.do("shared 3 0 256", "touch 0 0 256")
	by := startThrough(t, append(through, docker(t)...), nil)
	checkWhole(t, measuredBy(t, by, c, seg), 1)
	c.do(fmt.Sprint("another ", nobody))
	checkHidden(t, measuredBy(t, by, c, seg))
}

func checkWhole(t *testing.T, row Worker, processes int) {
	t.Helper()
	if row.Sample.Error != "" || !row.Sample.Exact || row.PSS == nil || row.USS == nil || row.OtherShared == nil ||
		row.FDs == nil || *row.FDs < 3 || row.CPUSeconds == nil || row.Data[0].PSS == nil || len(row.PIDs) != processes {
		t.Errorf("figures are missing: %+v", row)
	}
}

// checkUnknown is about what needs ptrace access.
func checkUnknown(t *testing.T, what string, row Worker) {
	t.Helper()
	if row.PSS != nil || row.USS != nil || row.OtherShared != nil || row.Mapped != nil || row.Sample.Exact ||
		row.Data[0].RSS != nil || row.Data[0].PSS != nil || row.Data[0].COW != nil || row.Data[0].Huge != nil {
		t.Errorf("%s: there are figures that cannot have been read: %+v", what, row)
	}
	if !strings.Contains(row.Sample.Error, "give preforkd CAP_SYS_PTRACE") {
		t.Errorf("%s: the reason does not say what to do: %q", what, row.Sample.Error)
	}
	m := Totals(Account{Workers: []*Worker{&row}, Data: 1 << 20, Newest: 1 << 20, Ready: 1, Full: 1 << 20, Supervisor: new(int64)})
	if m.PSS != nil || m.USS != nil || m.Mapped != nil || m.COW != nil || m.Used != nil || m.WithoutSharing != nil ||
		m.Saved != nil || m.SavedFull != nil || m.SavedRatio != nil || m.Copies != nil {
		t.Errorf("%s: there are sums of what is not known: %+v", what, m)
	}
}

func checkHidden(t *testing.T, row Worker) {
	t.Helper()
	checkUnknown(t, "hidden", row)
	if row.RSS != nil || row.Private != nil || row.FDs != nil || row.Threads != nil || row.CPUSeconds != nil {
		t.Errorf("there are figures of what is hidden: %+v", row)
	}
	if !strings.Contains(row.Sample.Error, "hidepid") || !strings.HasPrefix(row.Sample.Error, "cannot ") {
		t.Errorf("the reason is %q", row.Sample.Error)
	}
}

// copyWithMode copies this program to where every user may run it.
func copyWithMode(t *testing.T, mode os.FileMode) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "helper")
	for dir := filepath.Dir(path); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.WriteFile(path, text, 0o700), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
	return path
}

// measuredBy lets one helper sample another.
func measuredBy(t *testing.T, by, c *child, seg Segment) (row Worker) {
	t.Helper()
	answer := by.ask(fmt.Sprint("measure ", c.pid, " ", seg.Dev, " ", seg.Ino))
	if err := json.Unmarshal([]byte(answer), &row); err != nil {
		t.Fatalf("%v: %s", err, answer)
	}
	return row
}
