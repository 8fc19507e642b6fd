// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// zstd (RFC 8878), by klauspost/compress.

package codec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"

	"github.com/klauspost/compress/zstd"
)

// maxWindow is the window of zstd --long=31, the most that its program makes. The decoder allocates it at once and uses
// as much as the content fills.
const maxWindow = 1 << 31

// manyCPUs is from when on a zstd stream is decoded by several goroutines. With CPUs to spare the library's three stages
// are a third faster than one; with two CPUs that others use too, they are a quarter slower than the program, and one
// stage with the caller beside it is as fast as the program.
const manyCPUs = 4

func openZstd(src *source) (io.Reader, func(), error) {
	return zstdReader(src, runtime.GOMAXPROCS(0) >= manyCPUs, maxWindow)
}

func zstdReader(src *source, stages bool, window uint64) (io.Reader, func(), error) {
	kind, begun, err := skipFrames(src)
	if err != nil {
		return nil, nil, err
	}
	if kind == LZ4 { // behind skippable frames, which zstd has too
		return lz4Reader(begun, src)
	}
	options := []zstd.DOption{zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(window)}
	if stages {
		options[0] = zstd.WithDecoderConcurrency(inFlight)
	}
	d, err := zstd.NewReader(begun, options...)
	if err != nil {
		return nil, nil, err
	}
	if stages {
		return d, d.Close, nil
	}
	ahead := newSource(filler{d})
	return ahead, func() {
		ahead.stop()
		ahead.wait()
		d.Close()
	}, nil
}

// filler makes of the library's blocks of 128 KiB fewer, larger ones.
type filler struct{ r io.Reader }

// Read implements io.Reader.
func (f filler) Read(p []byte) (n int, err error) {
	for p = p[:min(len(p), blockSize)]; n < len(p) && err == nil; {
		var k int
		k, err = f.r.Read(p[n:])
		n += k
	}
	return n, err
}

// skipFrames goes to the first frame that is not skippable, and says by its magic what it is of. In begun is the magic
// too. None: there is no such frame.
func skipFrames(src *source) (kind Kind, begun io.Reader, err error) {
	var head [8]byte
	for {
		n, err := io.ReadFull(src, head[:4])
		if errors.Is(err, io.EOF) {
			return None, src, nil
		}
		if err != nil && err != io.ErrUnexpectedEOF {
			return None, nil, err
		}
		if n < 4 || !skippable(head[:4]) {
			return Detect(head[:n]), io.MultiReader(bytes.NewReader(head[:n]), src), nil
		}
		if _, err := io.ReadFull(src, head[4:]); err != nil {
			return None, nil, noEOF(err)
		}
		if _, err := io.CopyN(io.Discard, src, int64(binary.LittleEndian.Uint32(head[4:]))); err != nil {
			return None, nil, noEOF(err)
		}
	}
}

// noEOF is for an end in the middle.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
