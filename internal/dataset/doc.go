// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Package dataset turns sources (a file, standard input, the output of a command, a URL) into sealed segments, and looks after
// those that workers open themselves (direct:PATH).
//
// A load goes like this: the source is opened and its beginning looked at; what that tells of its size is promised out of the
// memory that is free; the bytes go into a segment, unpacked on the way where they are packed; the whole is checked by what its
// format says, an npz rewritten so that its arrays can be mapped; the segment is sealed, and given up again if what serves now
// is the same. A plain file is copied by several threads (file.go, fill.go), everything else read once from its beginning to
// its end (stream.go).
//
// It promises:
//
//   - All or nothing: [Loader.Load] returns every dataset, or an error that names the dataset, and then no segment,
//     descriptor, goroutine or producer is left. Cancelling the context ends it promptly, also while it waits for a
//     pipe or a server.
//   - No more memory is filled than the headroom allows: what has a known size is checked together before a byte is
//     loaded, the rest as it grows, both against what is free at that moment. So a decompression bomb ends early. What a
//     decoder holds beside the content (a window, a dictionary) is counted with it, as long as it lasts.
//   - What was loaded is whole: a file that changes while it is read, a truncated array, damaged packing, a download
//     that breaks off, a command that fails after its last byte and a digest that is not the expected one are errors.
//   - Secrets (headers, tokens, users and queries of URLs, arguments of commands) are in no error and no log line.
//
// It never unpickles, never changes a byte but for the layout of an npz, never starts or signals a process itself (it is given
// a Start function), and reaches the network only through package remote. It computes a digest only where one is expected:
// see [Loaded.Digest].
package dataset
