// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Package dataset turns sources (a file, standard input, the output of a command) into sealed segments.
//
// It promises:
//
//   - All or nothing: [Loader.Load] returns every dataset, or an error that names the dataset, and then no segment,
//     descriptor, goroutine or producer is left. Cancelling the context ends it promptly, also while it waits for a
//     pipe.
//   - No more memory is filled than the headroom allows: sources of known size are checked together before a byte is
//     loaded, streams as they grow, both against what is free at that moment.
//   - What was loaded is whole: a file that changes while it is read, a truncated npy and a command that fails after
//     its last byte are errors. The digest is that of the bytes in the segment.
//
// It never unpickles, never changes a byte, never starts or signals a process itself (it is given a Start function),
// and never touches the network.
package dataset
