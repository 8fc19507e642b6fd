// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// One worker: its process tree, and reading it.

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

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
	doubts   int           // how many times in a row settling it met figures that do not agree
	tree     debounce      // processes that came or went since the last sample
	scanCost time.Duration // processor time of the last scan
	sumCost  time.Duration // and of the last smaps_rollup

	treeErr, usageErr, scanErr, sumErr error // why figures are missing
}

// refresh finds the processes of the tree and reads what gopsutil tells of them. It reports whether the tree changed.
func (r *reader) refresh(w *worker) (changed bool) {
	old := w.members
	w.members, w.treeErr, w.usageErr = nil, nil, nil
	pids := host.Tree(r.proc, w.PID)
	for _, pid := range pids {
		m := take(&old, pid)
		if m == nil {
			changed = true
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
		m.usage = r.gauge.usage(pid)
		w.members = append(w.members, m)
	}
	for _, m := range old {
		m.close()
		changed = true
	}
	if w.started == nil && len(w.members) > 0 {
		if at, err := r.gauge.started(w.PID); err == nil {
			w.started = &at
		}
	}
	if r.status(w) {
		changed = true
	}
	for _, m := range w.members {
		if m.usage.rss != nil {
			m.rss = *m.usage.rss
		}
		w.usageErr = cmp.Or(w.usageErr, m.usage.err)
	}
	return changed
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
	w.members = slices.DeleteFunc(w.members, func(m *member) bool {
		if m.read(&r.text) == nil {
			return false
		}
		m.close()
		changed = true
		return true
	})
	if len(w.members) > 0 && w.members[0].pid != w.PID {
		w.close()
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
	r.status(w) // whoever is still there had these figures; whoever is not drops out with its errors
	for _, m := range w.members {
		w.scanErr = cmp.Or(w.scanErr, m.scanErr)
		if dear {
			w.sumErr = cmp.Or(w.sumErr, m.sumErr)
		}
	}
	w.counted = w.scanErr == nil
	if dear {
		w.summed = now
		if w.sumErr == nil {
			w.rest = w.sum()
		}
	}
	w.scanned, w.took = now, time.Since(begun)
	w.sampled = w.Ready
	return true
}

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
