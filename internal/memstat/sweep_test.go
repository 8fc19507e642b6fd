// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// Runs and the sweep against a plain array with one element for each page.

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// classes draws what one mapping has at each page, in stretches as real mappings have them.
func classes(t *rapid.T, label string) []class {
	var out []class
	for range rapid.IntRange(0, 8).Draw(t, label) {
		c := class(rapid.IntRange(0, int(swapped)).Draw(t, "class"))
		for range rapid.IntRange(1, 40).Draw(t, "pages") {
			out = append(out, c)
		}
	}
	return out
}

func encode(pages []class) runs {
	var w runWriter
	for i, c := range pages {
		if c != absent {
			w.add(uint64(i), uint64(i+1), c)
		}
	}
	return w.finish()
}

func decode(r runs) []class {
	var out []class
	for len(r) > 0 {
		var n uint64
		var c class
		n, c, r = r.next()
		for range n {
			out = append(out, c)
		}
	}
	return out
}

func TestRunsGiveBackWhatWasAdded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pages := classes(t, "stretches")
		got := decode(encode(pages))
		for i, c := range pages {
			if i < len(got) && got[i] != c || i >= len(got) && c != absent {
				t.Fatalf("page %d is not %d: %v", i, c, got)
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
		var plain [][]class
		for range rapid.IntRange(0, 7).Draw(t, "layers") {
			pages := classes(t, "stretches")
			plain = append(plain, pages)
			layers = append(layers, layer{owner: rapid.IntRange(0, owners-1).Draw(t, "owner"), runs: encode(pages)})
		}
		got, want := sweep(layers, owners), sweepPlainly(layers, plain, owners)
		for i := range got {
			g, w := got[i], want[i]
			if math.Abs(g.share-w.share) > 1e-6 || math.Abs(g.copiesShare-w.copiesShare) > 1e-6 {
				t.Errorf("owner %d: shares %v, want %v", i, g, w)
			}
			g.share, g.copiesShare, w.share, w.copiesShare = 0, 0, 0, 0
			if g != w {
				t.Errorf("owner %d: %+v, want %+v", i, g, w)
			}
		}
	})
}

// sweepPlainly does it page by page, from the definitions.
func sweepPlainly(layers []layer, plain [][]class, owners int) []holding {
	held := make([]holding, owners)
	for page := range 320 {
		mapped := 0
		forked := make([]int, owners)
		at := func(i int) class {
			if page < len(plain[i]) {
				return plain[i][page]
			}
			return absent
		}
		for i, l := range layers {
			switch at(i) {
			case file, fileHuge:
				mapped++
			case copiedShared:
				forked[l.owner]++
			}
		}
		for i, l := range layers {
			h := &held[l.owner]
			switch c := at(i); c {
			case file, fileHuge:
				h.present++
				h.share += 1 / float64(mapped)
				if mapped == 1 {
					h.alone++
				}
				if c == fileHuge {
					h.huge++
				}
			case copied:
				h.copies++
				h.copiesShare++
				h.copiesAlone++
			case copiedShared:
				h.copies++
				h.copiesShare += 1 / float64(forked[l.owner])
			}
		}
	}
	return held
}

func BenchmarkSweepEveryPageUnlikeItsNeighbour(b *testing.B) {
	pages := make([]class, 1<<18) // 1 GiB
	for i := range pages {
		pages[i] = file + class(i%2)*2
	}
	code := encode(pages)
	var layers []layer
	for i := range 8 {
		layers = append(layers, layer{owner: i, runs: code})
	}
	for b.Loop() {
		sweep(layers, 8)
	}
}
