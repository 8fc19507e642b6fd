// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

// This file counts the memory that unpacking takes beside the content: a window of 2 GiB is what a header of nine bytes can
// ask for.

import "runtime/debug"

const (
	// unasked is what a decoder may hold without a promise: it is within what is kept free.
	unasked = 16 << 20
	// collected is from when on a decoder's memory is given back to the system at once, and not when Go comes to it.
	collected = 64 << 20
)

// beside is the part of a decoder's memory that must be promised.
func beside(memory int64) int64 { return max(memory-unasked, 0) }

// unpack promises a decoder its memory, until unpacked; content is what else the dataset is known to need by now.
func (a *account) unpack(memory, content int64) error {
	need := beside(memory)
	if need == 0 {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	left, by, err := a.left()
	if err != nil {
		return err
	}
	content = max(content, a.granted)
	if usable := left + a.granted; need > usable-content {
		return &shortage{need: more(content, need), usable: usable, by: by, unpack: need}
	}
	a.decoder = need
	a.promised += need
	return nil
}

// unpacked gives the decoder's memory back, when nobody refers to the decoder any more.
func (a *account) unpacked() {
	if a.decoder+unasked > collected {
		debug.FreeOSMemory()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.promised -= a.decoder - a.filled
	a.written -= a.filled
	a.decoder, a.filled = 0, 0
}
