// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Package ready answers one question: is this worker serving?
//
// It promises:
//   - Waiting is a pure function over a view of procfs: it opens, reads and closes, and keeps nothing.
//   - Probe.Wait returns nil once a worker counts as ready by its Mode, and otherwise says what it saw last.
//   - A Notifier hears one incarnation of one worker (sd_notify), and only the users allowed to speak for it.
//   - What a worker sends costs preforkd a bounded amount of work: a flood is merged, descriptors are never kept.
//
// It never connects to the worker, never traces, signals or stops it, never writes to its memory, and sets no limit on
// how long a start may take: that is the fleet's.
package ready
