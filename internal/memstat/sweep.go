// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// The sweep: from the runs of all mappings of one segment to what each owner of mappings holds of it.

import "math"

// layer is the runs of one process over one segment, or over as much of it as does not overlap: a process that maps a
// page twice has it in two layers. owner numbers the worker that the process belongs to.
type layer struct {
	owner int
	runs  runs
}

// holding is what one owner has of a segment, in pages.
//
// Of a shared copy the kernel tells only root with whom it is shared, so all processes of an owner that share a copy
// of the same page are taken to share the same one. With four or more they may be two pairs, of a parent that forked,
// wrote again and forked again; then copiesShare is too low by the second copy.
type holding struct {
	present     uint64  // the segment's own pages, once for each mapping
	share       float64 // each of them divided by its number of mappings in the fleet
	alone       uint64  // those with no other mapping
	huge        uint64  // those mapped by huge pages
	copies      uint64  // copies made by writing, once for each mapping: the kernel's Anonymous
	copiesShare float64 // copies in memory: those shared after a fork count once for all processes of the owner
	copiesAlone uint64  // copies that no other process has
}

// meter integrates over the pages of a segment while the number of mappings n changes.
type meter struct {
	at    uint64
	n     int
	share float64 // Σ 1/n
	alone uint64  // pages at which n was 1
}

// to advances the meter to a page.
func (m *meter) to(page uint64) {
	if d := page - m.at; m.n > 0 && d > 0 {
		m.share += float64(d) / float64(m.n)
		if m.n == 1 {
			m.alone += d
		}
	}
	m.at = page
}

// cursor walks one layer; at what page its present run began, and what the meter of its class showed there.
type cursor struct {
	owner      int
	rest       runs
	class      class
	start, end uint64
	share      float64
	alone      uint64
}

const ended = math.MaxUint64

// sweep goes once over the boundaries of all runs and returns what each of the owners holds.
func sweep(layers []layer, owners int) []holding {
	held := make([]holding, owners)
	own := make([]meter, owners) // copies shared within an owner
	var files meter
	cursors := make([]cursor, len(layers))
	for i, l := range layers {
		cursors[i] = cursor{owner: l.owner, rest: l.runs}
	}
	for page := uint64(0); page != ended; {
		files.to(page)
		next := uint64(ended)
		for i := range cursors {
			c := &cursors[i]
			if c.end == page {
				c.leave(&held[c.owner], &files, &own[c.owner])
				c.enter(&files, &own[c.owner])
			}
			next = min(next, c.end)
		}
		page = next
	}
	return held
}

// leave accounts for the run that ends here.
func (c *cursor) leave(h *holding, files, own *meter) {
	pages := c.end - c.start
	switch c.class {
	case file, fileHuge:
		h.present += pages
		h.share += files.share - c.share
		h.alone += files.alone - c.alone
		files.n--
		if c.class == fileHuge {
			h.huge += pages
		}
	case copied:
		h.copies += pages
		h.copiesShare += float64(pages)
		h.copiesAlone += pages
	case copiedShared:
		own.to(c.end)
		h.copies += pages
		h.copiesShare += own.share - c.share
		own.n--
	case absent, swapped:
	}
}

// enter begins the next run.
func (c *cursor) enter(files, own *meter) {
	if len(c.rest) == 0 {
		c.class, c.end = absent, ended
		return
	}
	var pages uint64
	pages, c.class, c.rest = c.rest.next()
	c.start, c.end = c.end, c.end+pages
	switch c.class {
	case file, fileHuge:
		c.share, c.alone = files.share, files.alone
		files.n++
	case copiedShared:
		own.to(c.start)
		c.share = own.share
		own.n++
	case absent, copied, swapped:
	}
}
