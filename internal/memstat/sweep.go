// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// The sweep: from the runs of all mappings of one segment to what each owner of mappings holds of it.

import "math"

// layer is the runs of one process over one segment, or over as much of it as does not overlap: a process that maps a
// page twice has it in two layers, which number counts. owner numbers the worker that the process belongs to.
type layer struct {
	owner, number int
	runs          runs
}

// holding is what one owner has of a segment, in pages.
//
// Copies that are shared after a fork are told apart by their frames, which the kernel shows to who has CAP_SYS_ADMIN.
// Where it does not, those of one page in the layers of one number are taken for the same one. With four or more
// processes they may be two pairs, of a parent that forked, wrote again and forked again; then copiesShare is too low
// by the second copy.
type holding struct {
	present     uint64  // the segment's own pages, once for each mapping
	share       float64 // each of them divided by its number of mappings in the fleet
	alone       uint64  // those with no other mapping in the fleet
	pss         float64 // share and alone as the kernel has them, which counts the owner's mapping of a locked segment too
	uss         uint64
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
	next  float64 // Σ 1/(n+1)
	alone uint64  // pages at which n was 1
}

// to advances the meter to a page.
func (m *meter) to(page uint64) {
	if d := page - m.at; m.n > 0 && d > 0 {
		m.share += float64(d) / float64(m.n)
		m.next += float64(d) / float64(m.n+1)
		if m.n == 1 {
			m.alone += d
		}
	}
	m.at = page
}

// family names the shared copies of an owner that are the same in memory: of two runs that have a page in one frame all
// pages are where they overlap.
type family struct {
	owner  int
	base   uint64 // the frame less the page; where frames are not known the number of the layer
	framed bool
}

// cursor walks one layer; at what page its present run began, and what the meter of its class showed there.
type cursor struct {
	layer
	run
	start, end uint64
	share      float64
	next       float64
	alone      uint64
}

const ended = math.MaxUint64

// sweep goes once over the boundaries of all runs and returns what each of the owners holds. locked: see Segment.
func sweep(layers []layer, owners int, locked bool) []holding {
	held := make([]holding, owners)
	own := map[family]*meter{} // copies shared within an owner
	var files meter
	cursors := make([]cursor, len(layers))
	for i, l := range layers {
		cursors[i].layer = l
	}
	for page := uint64(0); page != ended; {
		files.to(page)
		next := uint64(ended)
		for i := range cursors {
			c := &cursors[i]
			if c.end == page {
				c.leave(&held[c.owner], &files, own)
				c.enter(&files, own)
			}
			next = min(next, c.end)
		}
		page = next
	}
	if !locked {
		for i := range held {
			held[i].pss, held[i].uss = held[i].share, held[i].alone
		}
	}
	return held
}

// leave accounts for the run that ends here.
func (c *cursor) leave(h *holding, files *meter, own map[family]*meter) {
	switch c.class {
	case file, fileHuge:
		h.present += c.pages
		h.share += files.share - c.share
		h.alone += files.alone - c.alone
		h.pss += files.next - c.next
		files.n--
		if c.class == fileHuge {
			h.huge += c.pages
		}
	case copied:
		h.copies += c.pages
		h.copiesShare += float64(c.pages)
		h.copiesAlone += c.pages
	case copiedShared:
		m := own[c.family()]
		m.to(c.end)
		h.copies += c.pages
		h.copiesShare += m.share - c.share
		if m.n--; m.n == 0 {
			delete(own, c.family())
		}
	case absent, swapped:
	}
}

// enter begins the next run.
func (c *cursor) enter(files *meter, own map[family]*meter) {
	c.start = c.end
	if len(c.runs) == 0 {
		c.run, c.end = run{}, ended
		return
	}
	c.run, c.runs = c.runs.next()
	c.end += c.pages
	switch c.class {
	case file, fileHuge:
		c.share, c.next, c.alone = files.share, files.next, files.alone
		files.n++
	case copiedShared:
		m := own[c.family()]
		if m == nil {
			m = &meter{}
			own[c.family()] = m
		}
		m.to(c.start)
		c.share = m.share
		m.n++
	case absent, copied, swapped:
	}
}

func (c *cursor) family() family {
	if c.frame == 0 {
		return family{owner: c.owner, base: uint64(c.number)}
	}
	return family{owner: c.owner, base: c.frame - c.start, framed: true}
}
