// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// What the owner of a fleet hands to the sampler.

import "time"

// Key names one incarnation of one worker.
type Key struct{ Worker, Incarnation int }

// SegKey names one version of a dataset.
type SegKey struct {
	Name    string
	Version int
}

// Target is one live worker. PID leads its process tree and has passed its exec: what is opened before shows the wrong
// memory for ever. Versions lists the segments it was handed, mapped or not; the slice belongs to the sampler.
type Target struct {
	Key
	PID      int
	Ready    bool
	Versions []SegKey
}

// Segment is one live version of a dataset, in a memfd. Dev and Ino are those of fstat and identify its mappings;
// Size is its content in bytes. Locked tells that the owner of the fleet maps all of it too, to keep it in RAM.
// Allocated returns its allocated bytes (st_blocks × 512); it is called from the sampler's goroutine, maybe just after
// the segment was closed, when it returns an error. Versions of targets that have no segment are not in memory that
// anybody shares through this program (direct:): they have no figures, and make no others unknown.
type Segment struct {
	SegKey
	Dev, Ino  uint64
	Size      int64
	Locked    bool
	Allocated func() (int64, error)
}

// Options of a sampler; a zero field takes its default.
type Options struct {
	Proc   string        // mount point of procfs: /proc
	Budget float64       // share of one core that measuring may take in the long run: 0.01
	Tick   time.Duration // period of the cheap figures: 1 s
	Scan   time.Duration // shortest period of a worker's page scan: 10 s
	Exact  time.Duration // period of the dear figures, smaps_rollup: 60 s
	Settle time.Duration // quiet time after the ready workers changed until the dear figures are read again: 1 s
}
