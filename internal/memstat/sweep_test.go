// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// Runs and the sweep against a plain array with one element for each page.

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// cell is what one mapping has at one page.
type cell struct {
	class class
	frame uint64 // of a shared copy, where it is known
}

// cells draws what one mapping has at each page, in stretches as real mappings have them. Shared copies lie in one of a
// few places, so that some are the same in memory and some are not.
func cells(t *rapid.T, label string) []cell {
	var out []cell
	for range rapid.IntRange(0, 8).Draw(t, label) {
		c := class(rapid.IntRange(0, int(swapped)).Draw(t, "class"))
		base := uint64(0)
		if c == copiedShared {
			base = uint64(rapid.IntRange(0, 3).Draw(t, "place")) * 1000
		}
		for range rapid.IntRange(1, 40).Draw(t, "pages") {
			next := cell{class: c}
			if base > 0 {
				next.frame = base + uint64(len(out))
			}
			out = append(out, next)
		}
	}
	return out
}

func encode(pages []cell) runs {
	var w runWriter
	for i, c := range pages {
		switch c.class {
		case absent:
		case copiedShared:
			w.addShared(uint64(i), c.frame)
		default:
			w.add(uint64(i), uint64(i+1), c.class)
		}
	}
	return w.finish()
}

func decode(r runs) []cell {
	var out []cell
	for len(r) > 0 {
		var first run
		first, r = r.next()
		for i := range first.pages {
			next := cell{class: first.class}
			if first.frame > 0 {
				next.frame = first.frame + i
			}
			out = append(out, next)
		}
	}
	return out
}

func TestRunsGiveBackWhatWasAdded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pages := cells(t, "stretches")
		got := decode(encode(pages))
		for i, c := range pages {
			if i < len(got) && got[i] != c || i >= len(got) && c.class != absent {
				t.Fatalf("page %d is not %v: %v", i, c, got)
			}
		}
		if len(got) > len(pages) {
			t.Fatalf("%d pages came back as %d", len(pages), len(got))
		}
	})
}

func TestRunsTakeAtMostAByteAPage(t *testing.T) {
	var w runWriter
	for i := range uint64(10000) {
		w.add(i, i+1, file+class(i%2)*2)
	}
	if n := len(w.finish()); n > 10000 {
		t.Errorf("10000 alternating pages take %d bytes", n)
	}
	var whole runWriter
	whole.add(0, 1<<40, file)
	if n := len(whole.finish()); n > 8 {
		t.Errorf("one run takes %d bytes", n)
	}
}

func TestTheSweepCountsPageByPage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		owners := rapid.IntRange(1, 4).Draw(t, "owners")
		var layers []layer
		var plain [][]cell
		for range rapid.IntRange(0, 7).Draw(t, "layers") {
			pages := cells(t, "stretches")
			plain = append(plain, pages)
			layers = append(layers, layer{
				owner:  rapid.IntRange(0, owners-1).Draw(t, "owner"),
				number: rapid.IntRange(0, 1).Draw(t, "number"),
				runs:   encode(pages),
			})
		}
		locked := rapid.Bool().Draw(t, "locked")
		got, want := sweep(layers, owners, locked), sweepPlainly(layers, plain, owners, locked)
		for i := range got {
			g, w := got[i], want[i]
			if math.Abs(g.share-w.share) > 1e-6 || math.Abs(g.pss-w.pss) > 1e-6 ||
				math.Abs(g.copiesShare-w.copiesShare) > 1e-6 {
				t.Errorf("owner %d: shares %v, want %v", i, g, w)
			}
			g.share, g.pss, g.copiesShare, w.share, w.pss, w.copiesShare = 0, 0, 0, 0, 0, 0
			if g != w {
				t.Errorf("owner %d: %+v, want %+v", i, g, w)
			}
		}
	})
}

// sweepPlainly does it page by page, from the definitions.
func sweepPlainly(layers []layer, plain [][]cell, owners int, locked bool) []holding {
	held := make([]holding, owners)
	for page := range 320 {
		mapped := 0
		type copy struct {
			owner, number int
			frame         uint64
		}
		same := map[copy]bool{}
		at := func(i int) cell {
			if page < len(plain[i]) {
				return plain[i][page]
			}
			return cell{}
		}
		for i := range layers {
			if c := at(i).class; c == file || c == fileHuge {
				mapped++
			}
		}
		for i, l := range layers {
			h := &held[l.owner]
			switch c := at(i); c.class {
			case file, fileHuge:
				h.present++
				h.share += 1 / float64(mapped)
				if mapped == 1 {
					h.alone++
				}
				all := mapped
				if locked {
					all++
				}
				h.pss += 1 / float64(all)
				if all == 1 {
					h.uss++
				}
				if c.class == fileHuge {
					h.huge++
				}
			case copied:
				h.copies++
				h.copiesShare++
				h.copiesAlone++
			case copiedShared:
				h.copies++
				one := copy{l.owner, l.number, c.frame}
				if c.frame > 0 {
					one.number = 0
				}
				if !same[one] {
					same[one] = true
					h.copiesShare++
				}
			}
		}
	}
	return held
}

func BenchmarkSweepEveryPageUnlikeItsNeighbour(b *testing.B) {
	pages := make([]cell, 1<<18) // 1 GiB
	for i := range pages {
		pages[i].class = file + class(i%2)*2
	}
	code := encode(pages)
	var layers []layer
	for i := range 8 {
		layers = append(layers, layer{owner: i, runs: code})
	}
	for b.Loop() {
		sweep(layers, 8, false)
	}
}
