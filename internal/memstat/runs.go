// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// Runs: which pages of a segment one mapping has, as the page scan found them.

import "encoding/binary"

// class is what a mapping has at a page of the segment.
type class uint8

const (
	absent       class = iota // nothing
	file                      // the segment's own page
	fileHuge                  // the segment's own page, mapped as part of a huge page
	copied                    // a copy made by writing
	copiedShared              // such a copy that another process has as well, after a fork
	swapped                   // a copy that is swapped out
)

const classBits = 3

// runs is a list of runs from page 0 on, each a uvarint of length<<classBits | class, and of copiedShared another one
// with the frame of its first page. A segment that is wholly mapped takes a few bytes, and the worst case, every page
// unlike the one before, one byte a page (256 KiB for a GiB), or some five where those are shared copies; so the list
// needs no limit behind which figures would become estimates.
type runs []byte

// run is some pages of one class. Shared copies lie in consecutive frames of memory from frame on; 0 is unknown.
type run struct {
	pages uint64
	class class
	frame uint64
}

// runWriter builds runs.
type runWriter struct {
	code    runs
	end     uint64 // the page behind what has been added
	pending run    // the last run, not yet in code
}

// add appends pages [first, end). first must not be before what has been added.
func (w *runWriter) add(first, end uint64, c class) {
	w.extend(first-w.end, absent, 0)
	w.extend(end-first, c, 0)
	w.end = end
}

// addShared appends a page that is a shared copy, in the given frame; 0 where the kernel does not tell.
func (w *runWriter) addShared(page, frame uint64) {
	w.extend(page-w.end, absent, 0)
	w.extend(1, copiedShared, frame)
	w.end = page + 1
}

func (w *runWriter) extend(pages uint64, c class, frame uint64) {
	if pages == 0 {
		return
	}
	p := &w.pending
	follows := c == p.class && (frame == 0 && p.frame == 0 || p.frame != 0 && frame == p.frame+p.pages)
	if !follows {
		w.flush()
		*p = run{class: c, frame: frame}
	}
	p.pages += pages
}

func (w *runWriter) flush() {
	p := &w.pending
	if p.pages == 0 {
		return
	}
	w.code = binary.AppendUvarint(w.code, p.pages<<classBits|uint64(p.class))
	if p.class == copiedShared {
		w.code = binary.AppendUvarint(w.code, p.frame)
	}
	p.pages = 0
}

// finish returns the list; pages behind it are absent.
func (w *runWriter) finish() runs {
	if w.pending.class != absent {
		w.flush()
	}
	return w.code
}

// next splits the first run off.
func (r runs) next() (first run, rest runs) {
	code, n := binary.Uvarint(r)
	first, rest = run{pages: code >> classBits, class: class(code & (1<<classBits - 1))}, r[n:]
	if first.class == copiedShared {
		first.frame, n = binary.Uvarint(rest)
		rest = rest[n:]
	}
	return first, rest
}
