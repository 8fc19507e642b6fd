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

// runs is a list of runs from page 0 on, each a uvarint of length<<classBits | class. A segment that is wholly mapped
// takes a few bytes, and the worst case, every page unlike the one before, one byte a page (256 KiB for a GiB); so
// the list needs no limit behind which figures would become estimates.
type runs []byte

// runWriter builds runs.
type runWriter struct {
	code    runs
	end     uint64 // the page behind what has been added
	pending uint64 // pages of the last run, not yet in code
	class   class
}

// add appends pages [first, end). first must not be before what has been added.
func (w *runWriter) add(first, end uint64, c class) {
	if first > w.end {
		w.extend(first-w.end, absent)
	}
	w.extend(end-first, c)
	w.end = end
}

func (w *runWriter) extend(pages uint64, c class) {
	if c != w.class {
		w.flush()
		w.class = c
	}
	w.pending += pages
}

func (w *runWriter) flush() {
	if w.pending > 0 {
		w.code = binary.AppendUvarint(w.code, w.pending<<classBits|uint64(w.class))
		w.pending = 0
	}
}

// finish returns the list; pages behind it are absent.
func (w *runWriter) finish() runs {
	if w.class != absent {
		w.flush()
	}
	return w.code
}

// next splits the first run off.
func (r runs) next() (pages uint64, c class, rest runs) {
	code, n := binary.Uvarint(r)
	return code >> classBits, class(code & (1<<classBits - 1)), r[n:]
}
