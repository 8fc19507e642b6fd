// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Package format tells what the content of a dataset is and where its arrays lie: npy, npz, safetensors, Arrow IPC,
// pk5, or raw, which is everything else.
//
// It promises:
//
//   - Content of a known format is whole and consistent, or an error says what is wrong; so is content that cannot be
//     shared at all (Python objects, SQLite, HDF5). Errors do not name the dataset: the caller does.
//   - What it says about arrays is enough to map them: dtype, shape, order, and the offset of the first byte.
//   - It never panics and never reserves memory by what a header claims: no more than the content has, within bounds.
//
// It never unpickles, never decompresses anything but npz members, never opens a file, never reads anything but the
// reader that it is given, and keeps no state. Functions may be called from many goroutines.
package format
