// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Package shm makes sealed shared memory: one copy of some bytes that any number of processes map and that none of
// them, root included, can change through it.
//
//	w, err := shm.Create("emb", shm.Options{}) // a memfd; nothing appears in the file system
//	defer w.Close()                            // gives the memory back, unless Seal was reached
//	err = w.Fill(ctx, file, 0, size, shm.FillOptions{}) // a regular file; ReadFrom takes a stream
//	segment, err := w.Seal()                   // from here on nothing can write, grow or shrink it
//	f, err := segment.Open()                   // one read-only descriptor for each consumer, to be inherited
//
// A process that inherited such a descriptor proves with [Inherit] that it really is sealed before it trusts it.
//
// What is promised of a [Segment]:
//
//   - Its four seals (write, grow, shrink, seal) were read back from the kernel, not merely asked for.
//   - Every page was written, also those that hold zeros. A hole would be allocated when it is first read, and charged
//     to the reader's cgroup (seen on Linux 6.18).
//   - Its mode is 0444 and its descriptors are O_RDONLY: a worker with another uid can open it by path, and kernels
//     that refuse shared mappings of sealed memfds through writable descriptors (some before 6.7, and 6.13) accept
//     these.
//   - The memory is freed when the last descriptor and the last mapping are gone, whatever ended their owners.
//
// While a segment is being filled, windows of 8 MiB of it are mapped writable, one for each goroutine that fills it:
// only through a mapping does memory come in huge pages on every host. They are unmapped before [Writer.Seal] and after
// every error, and nothing that is sealed is ever mapped writable. Where there are no huge pages the bytes are written;
// [Writer.Note] says why. Huge pages change neither the content nor the memory that a segment takes: what lies behind
// the last whole 2 MiB is in small pages, and nothing is allocated beyond the last of them.
//
// The package never puts a file anywhere, never changes a setting of the host and never hands out a descriptor that
// children would inherit by accident. It needs Linux 3.17 and /proc; elsewhere every function returns [ErrUnsupported].
// Kernel features are probed when they are used; kernel versions are never compared.
package shm
