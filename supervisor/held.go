// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package supervisor

// Who still uses an old version that it has replaced in place. Its memory is held as long as one mapping or descriptor of it is
// left, so preforkd keeps it in the books until then.

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/host"
)

// lookAtHeld lets go of old versions that no process of a worker has any more.
func (l *loop) lookAtHeld() {
	freed := false
	for _, w := range l.workers {
		if len(w.held) == 0 || w.process == nil {
			continue
		}
		before := len(w.held)
		tree := host.Tree("/proc", w.process.PID)
		w.held = slices.DeleteFunc(w.held, func(v *version) bool {
			return v.Segment == nil || !slices.ContainsFunc(tree, func(pid int) bool { return holds(pid, v.Segment.Dev(), v.Segment.Ino()) })
		})
		freed = freed || len(w.held) < before
	}
	if freed {
		l.roster = true
		l.collect()
	}
}

// holds tells whether a process maps a file or has it open. Of one whose /proc files may not be read it is taken to let go:
// what it has stays its own in any case.
func holds(pid int, dev, ino uint64) bool {
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return false
	}
	defer maps.Close()
	needle := fmt.Appendf(nil, " %02x:%02x %d ", unix.Major(dev), unix.Minor(dev), ino)
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		if bytes.Contains(lines.Bytes(), needle) {
			return true
		}
	}
	dir := fmt.Sprintf("/proc/%d/fd/", pid)
	entries, _ := os.ReadDir(dir)
	for _, entry := range entries {
		if _, err := strconv.Atoi(entry.Name()); err != nil {
			continue
		}
		var st unix.Stat_t
		if unix.Stat(dir+entry.Name(), &st) == nil && uint64(st.Dev) == dev && st.Ino == ino { //nolint:unconvert // 32 bits on MIPS
			return true
		}
	}
	return false
}
