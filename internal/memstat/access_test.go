// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// Processes that may not be looked into.

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
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
	nobody := startAs(t, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}})
	row := measuredBy(t, nobody, c, seg)
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
	for _, name := range []string{"maps", "smaps_rollup", "permission denied"} {
		if !strings.Contains(row.Sample.Error, name) {
			t.Errorf("the reason does not say %q: %s", name, row.Sample.Error)
		}
	}
}

func TestAnotherUsersProcessIsReadByRoot(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to have processes of two users")
	}
	seg, f := newSegment(t, "seg", 256)
	c := startAs(t, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}, f)
	c.do("private 3 0 256", "touch 0 0 256", "write 0 0 5 1")
	row := measuredBy(t, start(t), c, seg)
	if row.Sample.Error != "" || row.FDs == nil {
		t.Errorf("row = %+v", row)
	}
	checkNear(t, "cow", row.Data[0].COW, 5*int64(os.Getpagesize()), 0)
}

// measuredBy lets one helper sample another.
func measuredBy(t *testing.T, by, c *child, seg Segment) Worker {
	t.Helper()
	answer := by.ask(fmt.Sprint("measure ", c.pid, " ", seg.Dev, " ", seg.Ino))
	var row Worker
	if err := json.Unmarshal([]byte(answer), &row); err != nil {
		t.Fatalf("%v: %s", err, answer)
	}
	return row
}
