// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

import "testing"

// The first worker that maps the data has all of it to itself in smaps_rollup; the scans of the others are newer and say
// that it is shared. What is left for the rest must not be less than what the worker's own figures prove.
func TestAStaleRollupDoesNotMakeUSSLessThanAnonymousMemory(t *testing.T) {
	const mib = 1 << 20
	r := rest{
		rollup: rollup{
			rss: 230 * mib, pss: 60 * mib, pssAnon: 17 * mib, pssFile: 5 * mib, pssShmem: 38 * mib,
			privateClean: mib, privateDirty: 17 * mib,
		},
		rssAnon: 17 * mib, rssShmem: 195 * mib, anon: map[int]int64{1: 17 * mib},
	}
	if r.settle(segmentsPart{present: 195 * mib, uss: 14 * mib, pss: 49 * mib}) {
		t.Error("figures of different moments agree")
	}
	if r.uss < 17*mib || r.uss > r.pss {
		t.Errorf("uss %d MiB, pss %d MiB", r.uss/mib, r.pss/mib)
	}
}
