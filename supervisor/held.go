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
	"strings"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/host"
)

// heldBy is an old version that a worker may still have.
type heldBy struct {
	w *worker
	v *version
}

// lookAtHeld lets go of old versions that no process of a worker has any more. It looks beside the loop: what a process has open
// may lie on a file system that hangs.
func (l *loop) lookAtHeld() {
	if l.looking {
		return
	}
	var list []heldBy
	for _, w := range l.workers {
		for _, v := range w.held {
			list = append(list, heldBy{w, v})
		}
	}
	if len(list) == 0 {
		return
	}
	l.looking = true
	l.helpers.Go(func() {
		list = slices.DeleteFunc(list, func(h heldBy) bool {
			return h.v.Segment != nil && slices.ContainsFunc(host.Tree("/proc", h.w.process.PID), func(pid int) bool {
				return holds(pid, h.v.Segment.Dev(), h.v.Segment.Ino())
			})
		})
		l.report(func(l *loop) {
			l.looking = false
			for _, h := range list {
				h.w.held = slices.DeleteFunc(h.w.held, func(v *version) bool { return v == h.v })
			}
			if len(list) > 0 {
				l.roster = true
				l.collect()
				l.publish()
			}
		})
	})
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
		if target, err := os.Readlink(dir + entry.Name()); err != nil || !strings.HasPrefix(target, "/memfd:") {
			continue // and not stat: that may wait for another file system
		}
		var st unix.Stat_t
		if unix.Stat(dir+entry.Name(), &st) == nil && uint64(st.Dev) == dev && st.Ino == ino { //nolint:unconvert // 32 bits on MIPS
			return true
		}
	}
	return false
}
