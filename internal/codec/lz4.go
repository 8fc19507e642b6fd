// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// lz4 frames, by pierrec/lz4, the legacy ones of lz4 -l too.

package codec

import (
	"io"

	"github.com/pierrec/lz4/v4"
)

// inFlight is how many blocks are decoded at a time.
const inFlight = 4

func openLZ4(src *source) (io.Reader, func(), error) {
	_, begun, err := skipFrames(src)
	if err != nil {
		return nil, nil, err
	}
	return lz4Reader(begun, src)
}

func lz4Reader(begun io.Reader, src *source) (io.Reader, func(), error) {
	d := lz4.NewReader(begun)
	if err := d.Apply(lz4.ConcurrencyOption(inFlight)); err != nil {
		return nil, nil, err
	}
	// The library has no Close; Reset abandons its goroutines, which end when the source, stopped, gives them an error.
	return d, func() { d.Reset(src) }, nil
}
