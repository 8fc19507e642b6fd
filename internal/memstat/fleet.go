// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// What the sampler publishes. Names and units are those of the /stats schema (supervisor/snapshot.go): bytes,
// seconds; nil is a value that could not be read. Sample, WorkerData and Cost convert to its types directly.

import "time"

// Fleet is one immutable view of all workers.
type Fleet struct {
	At      time.Time
	Workers map[Key]*Worker
	// Allocated is what each live segment takes, mapped or not. No entry means that it could not be read.
	Allocated map[SegKey]int64
	Self      Self
	Host      Host
	Cost      Cost
}

// Worker is the memory of one process tree, summed over its processes.
//
// A page that two processes of the tree map counts twice in RSS, as the kernel's sum does, and adds two shares to
// PSS. USS is the kernel's sum as well: pages with exactly one mapping, so not one that two processes of a tree share.
type Worker struct {
	PIDs        []int // the tree, its leader first
	StartedAt   *time.Time
	RSS         *int64
	PSS         *int64
	USS         *int64
	Private     *int64 // anonymous memory: RssAnon, or Pss_Anon for a tree of several processes
	Least       *int64 // what Private is at LeastAt at the least: it is read at every tick, also when the tree has changed
	LeastAt     time.Time
	Shared      *int64 // RSS − Private
	Swap        *int64 // anonymous memory swapped out (VmSwap); the kernel does not attribute swapped segment pages
	PageTables  *int64
	OtherShared *int64 // Pss_File + Pss_Shmem outside the segments
	Mapped      *int64 // segment pages present, once for each mapping; copies left out
	CPUSeconds  *float64
	Threads     *int
	FDs         *int
	Sample      Sample
	Data        []WorkerData // one for each version that was handed over, in that order
}

// Sample says where a row's figures come from. Exact: PSS, USS and Data were counted page by page since the worker
// became ready; At is when, Took how long that took in seconds. Error says why a field is nil.
type Sample struct {
	At     *time.Time
	Took   float64
	Exact  bool
	Source string
	Error  string
}

// WorkerData is what one tree holds of one version.
//
// COW of a single process is the kernel's Anonymous of the segment's mappings. In a tree of several a page that was
// copied before a fork is one copy in memory and counts once, while RSS has it once for each process. The figures of a
// version that is in no segment (direct:) are nil.
type WorkerData struct {
	Name    string
	Version int
	RSS     *int64 // present pages of its mappings, copies included
	PSS     *int64 // its share: pages divided by the number of mappings in the fleet, plus its copies
	COW     *int64 // bytes copied by writing
	Huge    *int64 // bytes mapped by huge pages; nil where the kernel cannot tell (before Linux 6.7)
}

// Self is the measuring process itself. Its PSS leaves shared memory out: that is the segments, while they are filled
// and where they are kept locked, and those are counted once for the fleet. Their page tables are its own.
type Self struct {
	RSS        *int64
	PSS        *int64
	PageTables *int64
	CPUSeconds *float64
}

// Held is what the process itself holds: PSS and page tables.
func (s Self) Held() *int64 { return plus(s.PSS, s.PageTables) }

// Host is the memory of the machine.
type Host struct {
	Total     *int64
	Available *int64
}

// Cost is what the measuring costs. Interval is the present period of a worker's exact figures in seconds; LastTook the
// wall time of the last exact sample, LongestCall of the longest single read of the last half hour to hour, with the time in which
// others had the processor; CPUSeconds all of it since New.
type Cost struct {
	Interval    float64
	Budget      float64
	LastTook    float64
	LongestCall float64
	CPUSeconds  float64
}
