// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// From what was read to a worker's figures: pure arithmetic.

// rest is the memory of a tree outside the segments, as T2 found it. It stands until the next T2, while the segments'
// part is counted anew whenever anyone's pages were.
type rest struct {
	rollup                 // of the whole tree, segments included
	anon     map[int]int64 // RssAnon of each process at that moment
	rssShmem int64         // RssShmem at that moment
	rssAnon  int64         // RssAnon at that moment
	copies   int64         // copied pages of the segments in it
	settled  bool
	shared   int64 // Pss_File + Pss_Shmem outside the segments
	pss, uss int64 // outside the segments
}

// segmentsPart is what a worker holds of all its segments, in bytes.
type segmentsPart struct {
	present, copies    int64
	share, copiesShare float64
	alone, copiesAlone int64
	pss                float64 // share and alone as the kernel has them
	uss                int64
}

// segments adds up what w holds; false when that is not known. A version without a holding is in no segment: workers
// open it themselves (direct:), and its pages are the page cache's, in Pss_File.
func (w *worker) segments(page int64) (sum segmentsPart, known bool) {
	if !w.counted {
		return sum, false
	}
	for _, h := range w.held {
		if h == nil {
			continue
		}
		sum.present += int64(h.present) * page
		sum.copies += int64(h.copies) * page
		sum.share += h.share * float64(page)
		sum.copiesShare += h.copiesShare * float64(page)
		sum.alone += int64(h.alone) * page
		sum.pss += h.pss * float64(page)
		sum.uss += int64(h.uss) * page
		sum.copiesAlone += int64(h.copiesAlone) * page
	}
	return sum, true
}

// settle takes the segments' part out of the rollup. Copies made by writing are in Pss_Anon, the segments' own pages in
// Pss_Shmem.
//
// What the kernel had counted for the segments at that moment is what the sweep gives, if nobody's pages changed
// since they were scanned. Where the other workers' scans are older, or a process outside the fleet maps the data,
// the two may differ by much more than the rest is large, so each result is held within bounds that follow from this
// worker's own figures alone. settle reports whether the two agreed.
func (r *rest) settle(seg segmentsPart) (agreed bool) {
	// Other shared memory has at most as many bytes as RssShmem has beyond the segments: usually none at all.
	shmem, most := r.pssShmem-int64(seg.pss), max(0, r.rssShmem-seg.present)
	otherShmem := clamp(shmem, 0, most)
	r.shared = r.pssFile + otherShmem
	// Pss itself is cut to whole KiB once in each process, and each of its parts is. So the sum is taken from it, and the
	// parts only bound it.
	cut := int64(len(r.anon)) << 10
	least := max(0, r.pssAnon-int64(seg.copiesShare)) + r.pssFile
	r.pss = clamp(r.rollup.pss-int64(seg.pss+seg.copiesShare), least, least+most+3*cut)
	// Of memory with this Rss and Pss, USS is at most the Pss; and as a shared page counts at most half in Pss, it is
	// at least 2 × Pss − Rss; so is its anonymous part alone, nearly all of it. Private_Clean and Private_Dirty are whole
	// pages, nothing of them is cut.
	rss := r.rss - seg.present - seg.copies
	anon := 2*(r.pssAnon-int64(seg.copiesShare)) - (r.rssAnon - seg.copies)
	private := r.privateClean + r.privateDirty - seg.uss - seg.copiesAlone
	r.uss = clamp(private, max(0, 2*r.pss-rss, anon), r.pss+cut)
	r.pss = max(r.pss, r.uss)
	r.copies = seg.copies
	r.settled = true
	return near(shmem, otherShmem) && near(private, r.uss)
}

// drift is by how much anonymous memory outside the segments has changed since T2, going by T0: so PSS and USS need not
// wait a minute for a worker that grew. In a process that shares no anonymous memory all of it is in both.
func (r *rest) drift(rssAnon int64, seg segmentsPart) int64 {
	return (rssAnon - r.rssAnon) - (seg.copies - r.copies)
}

// near allows for the kernel's rounding to KiB and for pages touched between two readings.
func near(a, b int64) bool { return max(a-b, b-a) <= 64<<10 }

// clamp holds v between low and high; high wins.
func clamp(v, low, high int64) int64 { return min(max(v, low), high) }
