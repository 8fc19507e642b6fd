// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// NewReader: one reader for all containers, which judges what the libraries report.

package codec

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// NewReader unpacks r, and reads it ahead from now on. None: r as it is. An error of r comes out as it is; other errors
// are sentences that name the container, and are io.ErrUnexpectedEOF if it is cut short.
//
// Close may be called at any time, also while a Read waits, which then ends. It does not close r.
func NewReader(kind Kind, r io.Reader) (io.ReadCloser, error) {
	var open func(*source) (io.Reader, func(), error)
	switch kind {
	case None:
		return io.NopCloser(r), nil
	case Gzip:
		open = openGzip
	case Zstd:
		open = openZstd
	case XZ:
		open = openXZ
	case LZ4:
		open = openLZ4
	default:
		return nil, fmt.Errorf("cannot unpack %q: there is no such codec", string(kind))
	}
	return &reader{kind: kind, src: newSource(r), open: open}, nil
}

// reader is what NewReader returns.
type reader struct {
	kind Kind
	src  *source
	open func(*source) (io.Reader, func(), error) // may wait for the source: not before the first Read

	once    sync.Once  // of stopping the source
	mu      sync.Mutex // held while the decoder is used; what follows is under it
	decoder io.Reader
	close   func() // ends the decoder's goroutines once the source is stopped
	err     error
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return 0, r.err
	}
	if r.decoder == nil {
		var err error
		if r.decoder, r.close, err = r.open(r.src); err != nil {
			r.err = r.judge(err)
			return 0, r.err
		}
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := r.decoder.Read(p)
	if err != nil {
		r.err = r.judge(err)
	}
	return n, r.err
}

// judge makes of the decoder's last word what the caller is told.
func (r *reader) judge(err error) error {
	switch failure := r.src.failure(); {
	case failure != nil:
		return failure // whatever the decoder made of it
	case errors.Is(err, errClosed):
		return err // the decoder met Close before the source did
	case errors.Is(err, io.EOF) && r.src.taken == 0, errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the %s data is truncated: %w", r.kind, io.ErrUnexpectedEOF)
	case errors.Is(err, io.EOF):
		return io.EOF
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return fmt.Errorf("the zstd data is damaged, or a part of it has a larger window than may be used: pack it anew, in one "+
			"piece and without --long (%v)", err)
	default:
		return fmt.Errorf("the %s data is damaged: %v", r.kind, err)
	}
}

// Close implements io.Closer.
func (r *reader) Close() error {
	r.once.Do(r.src.stop)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.close != nil {
		r.close()
		r.close = nil
	}
	r.err = errClosed
	return nil
}

func openGzip(src *source) (io.Reader, func(), error) {
	g := newGunzip(src)
	return g, g.close, nil
}
