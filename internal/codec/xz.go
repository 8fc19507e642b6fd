// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// xz, by ulikunitz/xz, which knows the one filter that xz uses by itself (LZMA2).

package codec

import (
	"errors"
	"io"

	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"
)

func openXZ(src *source) (io.Reader, func(), error) {
	in := &xzInput{src: src}
	// The capacity is the least: a block's header says what it needs.
	d, err := xz.ReaderConfig{DictCap: lzma.MinDictCap}.NewReader(in)
	if err != nil {
		return nil, nil, err
	}
	return &xzReader{d, in}, func() {}, nil
}

// xzInput counts how often the library has met the end of the source.
type xzInput struct {
	src  *source
	ends int
}

// Read implements io.Reader.
func (in *xzInput) Read(p []byte) (int, error) {
	n, err := in.src.Read(p)
	if errors.Is(err, io.EOF) {
		in.ends++
	}
	return n, err
}

// xzReader finds a source that ends between two blocks or in a block's header. The library (0.5.17) takes that for the end
// of the stream, and looks for another one; behind the end of the last stream it looks but once.
type xzReader struct {
	*xz.Reader
	in *xzInput
}

// Read implements io.Reader.
func (r *xzReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if errors.Is(err, io.EOF) && r.in.ends > 1 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
