// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Package codec unpacks what the source of a dataset is packed with: gzip, zstd, xz or lz4, told by the first bytes.
//
// What it promises:
//
//  1. NewReader gives the whole content: all members of a gzip file, all frames of a zstd or lz4 file, all streams of an
//     xz file, each with its checksum verified where it has one.
//  2. io.EOF means that the packed data was whole. What is cut short, damaged or followed by something else is an error,
//     and so is an error of the source, whatever the library made of it: klauspost/compress/zstd takes an
//     io.ErrUnexpectedEOF of the source between two frames for the end, ulikunitz/xz an end between two blocks.
//  3. Reading the source, unpacking, and the caller's own work go on at the same time.
//  4. DecodedSize says a figure only if the container states it for all of its parts, and never decodes to find out.
//     Whoever decodes without an error gets exactly that many bytes.
//  5. After Close no goroutine is left, but for one that is in the middle of a Read of the source: Close does not wait
//     for it, and it ends with that Read. Whoever owns the source closes it.
//
// What it never does: it never limits how much comes out (a bomb is stopped by whoever stores the bytes), never decodes
// with a dictionary, never closes the source.
//
// What it costs beside the content: 4 MiB read ahead, and
//
//   - gzip: 2 MiB.
//   - zstd: the frame's window, as far as the content fills it: 2 to 8 MiB as the program packs, 128 MiB for --long,
//     2 GiB for --long=31, which is the most that is taken.
//   - xz: its dictionary, 8 MiB for -6 and 64 MiB for -9; a header can ask for 4 GiB.
//   - lz4: 8 MiB for each block in flight, of which there are about five.
//
// gzip is inflated by this package's own code (inflate.go, huffman.go): with klauspost/compress a core inflates
// about half as fast.
package codec
