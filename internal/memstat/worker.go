// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// One worker: its process tree, and reading it.

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/host"
)

// reader has what reading /proc needs; it belongs to one goroutine.
type reader struct {
	proc    string
	text    textReader
	calls   callTimer
	scanner *scanner
	gauge   gauge
}

func newReader(proc string) *reader {
	r := &reader{proc: proc, gauge: newGauge(proc)}
	r.scanner = newScanner(proc, &r.calls)
	return r
}

// worker is what is known of one target.
type worker struct {
	Target
	members []*member // the tree, its leader first
	started *time.Time

	read     time.Time     // when its status was last read
	scanned  time.Time     // when its pages were last scanned; zero before the first time
	summed   time.Time     // when smaps_rollup was last read with it, or tried
	took     time.Duration // wall time of that sample
	sampled  bool          // there has been a sample since the worker became ready
	counted  bool          // the last scan succeeded, the layers of its members are good
	held     []*holding    // by Target.Versions; nil where the segment is not known, or not counted
	rest     *rest         // nil while unknown
	footing  status        // its figures of T0, summed over the tree, at that sample
	doubts   int           // how many times in a row settling it met figures that do not agree
	tree     debounce      // processes that came or went since the last sample
	scanCost time.Duration // processor time of the last scan, and of the look at its processes before
	sumCost  time.Duration // and of the last smaps_rollup
	urgency  float64       // of another sample at this moment, where one is due
	ended    bool          // the leader has: its number may be another process's by now

	treeErr, usageErr, scanErr, sumErr error // why figures are missing
}

// walk finds the processes of the tree and reads what gopsutil tells of them. It reports whether the tree changed.
func (r *reader) walk(w *worker) (changed bool) { return r.refresh(w, true) }

// look is walk without what is known of the processes already: gopsutil takes ten times as long as all of T0.
func (r *reader) look(w *worker) (changed bool) { return r.refresh(w, false) }

func (r *reader) refresh(w *worker, usage bool) (changed bool) {
	old := w.members
	w.members, w.treeErr, w.usageErr = nil, nil, nil
	var pids []int
	if !w.ended {
		pids, w.treeErr = r.tree(w.PID)
	}
	for _, pid := range pids {
		m := take(&old, pid)
		fresh := m == nil
		if fresh {
			var err error
			if m, err = openMember(r.proc, pid, &r.text); err != nil {
				if !gone(err) {
					w.treeErr = err
				}
				continue
			}
			if pid != w.PID && !slices.Contains(pids, m.now.parent) { // the number has another process now
				m.close()
				continue
			}
		}
		if m.own = m.own || !r.sharesMemory(w, m); !m.own {
			m.close() // counted with its parent until it has its own, after its exec
			continue
		}
		changed = changed || fresh
		if m.asked = usage || fresh; m.asked {
			m.usage = r.usage(m)
		}
		w.members = append(w.members, m)
	}
	for _, m := range old {
		m.close()
		changed = true
	}
	if w.started == nil && len(w.members) > 0 {
		leader := w.members[0]
		_ = r.text.access.try(leader.proc, w.PID, func() error {
			at, err := r.gauge.started(w.PID)
			if err == nil {
				w.started = &at
			}
			return err
		})
	}
	if r.status(w) {
		changed = true
	}
	for _, m := range w.members {
		if m.thread >= 0 { // /proc/PID shows nothing of these
			m.usage.rss, m.usage.fds = nil, nil
			m.usage.fail(m.pid, "descriptors", errors.New("its first thread has ended"))
		}
		if m.asked && m.usage.rss != nil {
			m.rss = *m.usage.rss
		}
		w.usageErr = cmp.Or(w.usageErr, m.usage.err)
	}
	adviseOnce(w.usageErr, w.scanErr, w.sumErr)
	return changed
}

// tree finds the processes of a tree, parents before their children. It fails where one may not be looked into: a part of
// a tree would give figures that are too low.
func (r *reader) tree(pid int) ([]int, error) {
	pids := []int{pid}
	for i := 0; i < len(pids); i++ {
		var found []int
		dir := r.proc + "/" + strconv.Itoa(pids[i])
		err := r.text.access.try(dir, pids[i], func() (err error) {
			found, err = host.Children(r.proc, pids[i])
			return err
		})
		if err != nil && !gone(err) {
			return nil, fmt.Errorf("cannot list the children of process %d: %w", pids[i], err)
		}
		for _, child := range found { // one whose thread of the parent has just ended is listed with another one too
			if !slices.Contains(pids, child) {
				pids = append(pids, child)
			}
		}
	}
	return pids, nil
}

// sharesMemory tells whether m has the address space of its parent: so has a child of vfork until it calls exec, and
// what it seems to have would count twice. Python's subprocess starts programs like that.
func (r *reader) sharesMemory(w *worker, m *member) bool {
	i := slices.IndexFunc(w.members, func(p *member) bool { return p.pid == m.now.parent })
	if i < 0 || m.pid == w.PID {
		return false
	}
	parent := w.members[i]
	if parent.read(&r.text) != nil || m.read(&r.text) != nil {
		return false
	}
	// A first thread that has ended has no address space: another's number is asked for, whose files are read as well.
	thread := func(m *member) uintptr {
		tid, err := strconv.Atoi(path.Base(m.dir))
		if err != nil {
			tid = m.pid
		}
		return uintptr(tid)
	}
	const kcmpVM = 1
	order, _, errno := unix.Syscall6(unix.SYS_KCMP, thread(m), thread(parent), kcmpVM, 0, 0, 0)
	switch errno {
	case 0:
		return order == 0
	case unix.ESRCH:
		return false
	}
	// Not allowed for another user's processes without CAP_SYS_PTRACE, by Docker's filter for none.
	return alike(&m.now, &parent.now)
}

// alike tells whether two readings may be of one address space. The figures of a fork are hardly ever its parent's, as it begins
// without the pages of files; other threads of the parent go on between the two readings, but do not touch an eighth of it.
func alike(a, b *status) bool {
	apart := func(a, b int64) int64 { return max(a-b, b-a) }
	near := func(a, b int64) bool { return apart(a, b) <= min(1<<20, max(a, b)/8) }
	return near(a.rssFile, b.rssFile) && near(a.rssShmem, b.rssShmem) && a.pageTables == b.pageTables && a.swap == b.swap &&
		apart(a.rssAnon, b.rssAnon) < 1<<20
}

// usage asks gopsutil as whoever may look.
func (r *reader) usage(m *member) (u usage) {
	u.err = r.text.access.try(m.proc, m.pid, func() error {
		u = r.gauge.usage(m.pid)
		return u.err
	})
	return u
}

// take removes the member with a number from a list.
func take(members *[]*member, pid int) *member {
	i := slices.IndexFunc(*members, func(m *member) bool { return m.pid == pid })
	if i < 0 {
		return nil
	}
	m := (*members)[i]
	*members = slices.Delete(*members, i, i+1)
	return m
}

// status is T0 of the tree. Processes that have ended drop out, with what was read of them; it reports whether any did.
// Without its leader there is no tree.
func (r *reader) status(w *worker) (changed bool) {
	led := len(w.members) > 0 && w.members[0].pid == w.PID
	w.members = slices.DeleteFunc(w.members, func(m *member) bool {
		if m.read(&r.text) == nil {
			return false
		}
		m.close()
		changed = true
		return true
	})
	if len(w.members) == 0 || w.members[0].pid != w.PID {
		w.close()
		w.ended = w.ended || led
	}
	if len(w.members) == 0 && w.treeErr == nil {
		w.treeErr = fmt.Errorf("cannot find process %d", w.PID)
	}
	return changed
}

// sample is T1 of the tree, with dear set together with T2. segments are those of w.Versions. It reports false when
// it was interrupted, which leaves the worker as one that was never scanned.
func (r *reader) sample(w *worker, segments []Segment, dear bool, now time.Time) bool {
	begun := time.Now()
	w.scanErr, w.scanCost, w.counted, w.tree = nil, 0, false, debounce{}
	if dear {
		w.sumErr, w.sumCost, w.rest = nil, 0, nil
	}
	forked := len(w.members) > 1
	for _, m := range w.members {
		start := threadCPU()
		m.scanErr = m.scan(segments, forked, &r.text, r.scanner)
		if errors.Is(m.scanErr, errStopped) {
			return false
		}
		scanned := threadCPU()
		w.scanCost += scanned - start
		if dear {
			m.sumErr = m.sum(&r.text, &r.calls)
			w.sumCost += threadCPU() - scanned
		}
	}
	if r.status(w) && !dear { // whoever is still there had these figures; whoever is not drops out with its errors
		w.tree.mark(now)
	}
	for _, m := range w.members {
		w.scanErr = cmp.Or(w.scanErr, m.scanErr)
		if dear {
			w.sumErr = cmp.Or(w.sumErr, m.sumErr)
		}
	}
	adviseOnce(w.usageErr, w.scanErr, w.sumErr)
	if errors.Is(w.scanErr, unix.ESRCH) || errors.Is(w.sumErr, unix.ESRCH) { // an exec has begun another address space
		w.tree.mark(now)
	}
	w.counted = w.scanErr == nil
	if dear {
		w.summed = now
		if w.sumErr == nil {
			w.rest = w.sum()
		}
	}
	w.scanned, w.took, w.footing = now, time.Since(begun), w.figures()
	w.sampled = w.Ready
	return true
}

// figures are those of T0 that tell of the pages: added up over the tree.
func (w *worker) figures() (sum status) {
	for _, m := range w.members {
		sum.rssAnon += m.now.rssAnon
		sum.rssShmem += m.now.rssShmem
		sum.pageTables += m.now.pageTables
	}
	return sum
}

// moved tells whether there is something new for a scan to find, going by T0.
func (w *worker) moved() bool {
	now, then := w.figures(), &w.footing
	return w.tree != debounce{} || differs(now.rssAnon, then.rssAnon) || differs(now.rssShmem, then.rssShmem) ||
		differs(now.pageTables, then.pageTables)
}

// mapped tells whether w has touched more of the segments, or let go of some, since its scan: what it saves is wrong by
// that until the next one.
func (w *worker) mapped() bool {
	return differs(w.figures().rssShmem, w.footing.rssShmem)
}

// doubtful tells whether to read w again soon because figures did not agree: others' scans may have been older, or a
// process had just changed. A lasting reason for doubt is not worth more than the normal period.
func (w *worker) doubtful() bool { return w.doubts > 0 && w.doubts < 3 }

// sum adds up the rollups of the tree.
func (w *worker) sum() *rest {
	out := &rest{anon: make(map[int]int64, len(w.members))}
	for _, m := range w.members {
		out.add(m.rollup)
		out.anon[m.pid] = m.now.rssAnon
		out.rssShmem += m.now.rssShmem
		out.rssAnon += m.now.rssAnon
	}
	return out
}

// close lets go of all processes.
func (w *worker) close() {
	for _, m := range w.members {
		m.close()
	}
	w.members = nil
}
