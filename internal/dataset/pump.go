// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
)

const (
	// bufferSize and buffers: large enough that a system call costs nothing, small enough that a buffer is still in the
	// CPU's cache when it is hashed and written.
	bufferSize = 256 << 10
	buffers    = 4
	// progressStep is how often progress is told.
	progressStep = 4 << 20
)

// pump copies r to w until io.EOF and returns the bytes and their SHA-256. Reading and writing go on in this goroutine
// while another hashes, which is the slower half.
func pump(ctx context.Context, w io.Writer, r io.Reader, progress func(done int64)) (
	total int64, digest []byte, err error,
) {
	empty, full, hashed := make(chan []byte, buffers), make(chan []byte, buffers), make(chan []byte, 1)
	for range buffers {
		empty <- make([]byte, bufferSize)
	}
	go func() {
		h := sha256.New()
		for b := range full {
			h.Write(b)
			empty <- b[:bufferSize]
		}
		hashed <- h.Sum(nil)
	}()
	defer func() {
		close(full)
		digest = <-hashed
	}()
	told := int64(0)
	for {
		if ctx.Err() != nil {
			return total, nil, context.Cause(ctx)
		}
		b := <-empty
		n, err := io.ReadFull(r, b)
		atEnd := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !atEnd {
			return total, nil, err
		}
		if n > 0 {
			if _, err := w.Write(b[:n]); err != nil {
				return total, nil, err
			}
			total += int64(n)
			full <- b[:n]
		}
		if total-told >= progressStep || atEnd {
			told = total
			progress(total)
		}
		if atEnd {
			return total, nil, nil
		}
	}
}
