// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// A worker's published row.

import (
	"cmp"
	"errors"
	"maps"
	"math"
)

var errNotYet = errors.New("cannot tell yet: the first reading is due")

// row makes the row of a worker. scanner names the source of the page scan, page is the page size.
func (w *worker) row(scanner string, page int64) *Worker {
	out := &Worker{StartedAt: w.started, Data: make([]WorkerData, len(w.Versions))}
	for i, key := range w.Versions {
		out.Data[i] = WorkerData{Name: key.Name, Version: key.Version}
	}
	if len(w.members) == 0 || w.treeErr != nil {
		out.Sample = Sample{Source: "none", Error: reasons(cmp.Or(w.treeErr, errNotYet))}
		return out
	}
	w.addStatus(out)
	seg, counted := w.segments(page)
	if counted {
		out.Mapped = new(seg.present)
		w.addData(out.Data, scanner, page)
	}
	if w.rest != nil {
		w.addRest(out, seg, counted)
	}
	out.Sample = w.source(scanner, counted)
	return out
}

// addStatus fills in what T0 and gopsutil know, summed over the tree.
func (w *worker) addStatus(out *Worker) {
	var rss, anon, swap, tables int64
	out.CPUSeconds, out.Threads, out.FDs = new(0.0), new(0), new(0)
	for _, m := range w.members {
		out.PIDs = append(out.PIDs, m.pid)
		rss += m.rss
		anon += m.now.rssAnon
		swap += m.now.swap
		tables += m.now.pageTables
		out.CPUSeconds = plus(out.CPUSeconds, m.usage.cpu)
		out.Threads = plus(out.Threads, m.usage.threads)
		out.FDs = plus(out.FDs, m.usage.fds)
	}
	out.RSS, out.Swap, out.PageTables = &rss, &swap, &tables
	switch {
	case len(w.members) == 1:
		out.Private, out.Least = &anon, &anon
	case w.rest != nil: // RssAnon counts what processes share after a fork once for each
		least, same := w.least()
		out.Private, out.Least = new(w.rest.pssAnon), &least
		if same {
			out.Private = &least // what has come since is nobody else's
		}
	}
	out.LeastAt = w.read
	if out.Private != nil {
		out.Shared = new(max(0, rss-*out.Private))
	}
}

// least is the private memory of a tree by its last rollup and what its processes took since. One that came since counts
// with what it took after its first reading, as it may share the rest with its parent; one that went with all it had. So
// it is too little rather than too much, and exact (same) while the tree is the same.
func (w *worker) least() (bytes int64, same bool) {
	bytes, same = w.rest.pssAnon, len(w.members) == len(w.rest.anon)
	left := maps.Clone(w.rest.anon)
	for _, m := range w.members {
		then, known := left[m.pid]
		if !known {
			then, same = m.first, false
		}
		delete(left, m.pid)
		bytes += m.now.rssAnon - then
	}
	for _, gone := range left {
		bytes -= gone
	}
	return max(0, bytes), same
}

// addData fills in what the sweep gave; nothing for a version that is in no segment.
func (w *worker) addData(data []WorkerData, scanner string, page int64) {
	for i, h := range w.held {
		if h == nil {
			continue
		}
		data[i].RSS = new(int64(h.present+h.copies) * page)
		data[i].PSS = new(int64(math.Round((h.share + h.copiesShare) * float64(page))))
		data[i].COW = new(int64(math.Round(h.copiesShare * float64(page))))
		if scanner == ioctlScan {
			data[i].Huge = new(int64(h.huge) * page)
		}
	}
}

// addRest fills in what needs T2. Where the pages of the segments could not be counted, PSS and USS are the kernel's
// own at that moment.
func (w *worker) addRest(out *Worker, seg segmentsPart, counted bool) {
	if !counted || !w.rest.settled {
		out.PSS, out.USS = new(w.rest.rollup.pss), new(w.rest.privateClean+w.rest.privateDirty)
		return
	}
	pss, uss := w.rest.pss, w.rest.uss
	if _, same := w.least(); same && len(w.members) == 1 {
		drift := w.rest.drift(w.members[0].now.rssAnon, seg)
		pss, uss = max(0, pss+drift), max(0, uss+drift)
	}
	out.PSS = new(pss + int64(math.Round(seg.share+seg.copiesShare)))
	out.USS = new(uss + seg.alone + seg.copiesAlone)
	if out.Private != nil { // what has come since then, or is nobody else's any more, is in both
		if _, same := w.least(); len(w.members) == 1 && !same {
			*out.USS = max(*out.USS, *out.Private)
		}
		*out.PSS = max(*out.PSS, *out.USS, *out.Private)
	}
	out.OtherShared = new(w.rest.shared)
}

// source tells where the figures come from and why some are missing.
func (w *worker) source(scanner string, counted bool) Sample {
	s := Sample{Took: w.took.Seconds(), Source: "status"}
	if !w.scanned.IsZero() {
		s.At = new(w.scanned)
	}
	scan := counted && len(w.Versions) > 0
	switch {
	case scan && w.rest != nil:
		s.Source = scanner + "+smaps_rollup"
	case scan:
		s.Source = scanner
	case w.rest != nil:
		s.Source = "smaps_rollup"
	}
	s.Exact = w.sampled && counted && w.rest != nil && w.rest.settled && w.doubts == 0 && w.tree == debounce{}
	s.Error = reasons(w.usageErr, w.scanErr, w.sumErr)
	if s.Error == "" && w.rest == nil {
		s.Error = "smaps_rollup has not been read yet"
	}
	return s
}

// reasons puts errors into one line.
func reasons(errs ...error) string {
	var text string
	for _, err := range errs {
		if err == nil {
			continue
		}
		if text != "" {
			text += "; "
		}
		text += err.Error()
	}
	return text
}

// plus adds two values of which either may be unknown.
func plus[T, U int | int64 | float64](a *T, b *U) *T {
	if a == nil || b == nil {
		return nil
	}
	return new(*a + T(*b))
}
