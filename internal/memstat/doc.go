// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Package memstat measures the memory of worker process trees and what a fleet saves by sharing its segments.
//
// It promises:
//   - Figures are the kernel's. A value that could not be read is nil with a reason, never 0, and never a guess.
//   - A segment's pages are counted page by page: how many processes of the fleet map each page, hence rss, pss and
//     cow.
//   - Reading costs what the budget allows (a share of one core), is never done on a request, and reports its own cost.
//     What has changed is read first. A page scan locks a worker's memory map for a moment only: see pace.
//   - What root may not look into is opened as the worker's own user, by the one thread of the sampler: see access.
//   - Published results are immutable; Latest may be called from any goroutine.
//
// It never signals or waits for a process, never maps a segment, never writes anywhere, and opens smaps, maps and
// pagemap only of processes that the caller handed over after their exec. It needs Linux 5.4; PAGEMAP_SCAN (6.7) is
// probed for.
//
// The tiers, cheap to dear: T0 is /proc/PID/status at every tick. T1 is the page scan of the segments' mappings. T2
// is smaps_rollup, for the memory outside the segments. Runs found by T1 are kept and counted again, without reading,
// when a worker joins or leaves.
package memstat
