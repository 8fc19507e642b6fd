// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// zstd (RFC 8878), by klauspost/compress.

package codec

import (
	"bytes"
	"encoding/binary"
	"io"

	"github.com/klauspost/compress/zstd"
)

// maxWindow is the window of zstd --long=31, the most that its program makes. The decoder allocates it at once and uses
// as much as the content fills.
const maxWindow = 1 << 31

// inFlight is how many blocks are decoded ahead: four are faster than two on two cores, and no slower on one.
const inFlight = 4

func openZstd(src *source) (io.Reader, func(), error) {
	kind, begun, err := skipFrames(src)
	if err != nil {
		return nil, nil, err
	}
	if kind == LZ4 { // behind skippable frames, which zstd has too
		return lz4Reader(begun, src)
	}
	d, err := zstd.NewReader(begun, zstd.WithDecoderConcurrency(inFlight), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, nil, err
	}
	return d, d.Close, nil
}

// skipFrames goes to the first frame that is not skippable, and says by its magic what it is of. In begun is the magic
// too. None: there is no such frame.
func skipFrames(src *source) (kind Kind, begun io.Reader, err error) {
	var head [8]byte
	for {
		n, err := io.ReadFull(src, head[:4])
		if err == io.EOF {
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
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
