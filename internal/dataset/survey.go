// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

// This file is what a file says about itself before it is loaded.

import (
	"errors"
	"io"

	"github.com/preforkd/preforkd/internal/codec"
	"github.com/preforkd/preforkd/internal/format"
)

// facts are what is known of a source before it is loaded.
type facts struct {
	kind codec.Kind
	meta format.Meta // of packed content: by its beginning only
	size int64       // bytes of memory that the content will take at least, -1 when that is not known
	sure bool        // size is what it will take
}

// survey tells what a file of size bytes holds, and refuses what can be refused beforehand.
func (o Options) survey(r io.ReaderAt, size int64) (facts, error) {
	head := make([]byte, codec.HeadSize)
	n, err := r.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return facts{}, bare(err)
	}
	f := facts{kind: o.kind(head[:n]), size: size}
	if f.kind != codec.None {
		return o.surveyPacked(f, r, size)
	}
	f.meta, err = o.inspect(r, size)
	if err == nil && f.meta.Rewrite {
		f.size, err = format.RewrittenSize(r, size)
	}
	f.sure = err == nil
	return f, err
}

func (o Options) surveyPacked(f facts, r io.ReaderAt, size int64) (facts, error) {
	decoded, known := codec.DecodedSize(f.kind, r, size)
	unpacked, err := codec.NewReader(f.kind, io.NewSectionReader(r, 0, size))
	if err != nil {
		return f, err
	}
	defer unpacked.Close() //nolint:errcheck // only its beginning is read
	_, f.meta, err = o.peek(unpacked)
	switch {
	case known:
		f.size, f.sure = decoded, f.meta.Format != format.Npz // that may have to be rewritten
	case f.meta.Need > 0:
		f.size = f.meta.Need
	default:
		f.size = -1
	}
	return f, err
}

// kind is what content with this head is packed with.
func (o Options) kind(head []byte) codec.Kind {
	switch o.Codec {
	case "":
		return codec.Detect(head)
	case codecNone:
		return codec.None
	}
	return codec.Kind(o.Codec)
}

// inspect recognises and checks the whole of some content.
func (o Options) inspect(r io.ReaderAt, size int64) (format.Meta, error) {
	if o.Format == format.Raw {
		return format.Meta{Format: format.Raw}, nil
	}
	return format.Inspect(r, size)
}

// peek reads as much of r as it takes to recognise or refuse it, and returns that too. A stream that says its format at once
// is not waited for.
func (o Options) peek(r io.Reader) (head []byte, meta format.Meta, err error) {
	meta.Format = format.Raw
	if o.Format == format.Raw {
		return nil, meta, nil
	}
	head = make([]byte, 0, format.PeekSize)
	for len(head) < cap(head) && meta.Need == 0 {
		n, err := r.Read(head[len(head):cap(head)])
		head = head[:len(head)+n]
		if n > 0 {
			var refused error
			if meta, refused = format.Peek(head); refused != nil {
				return head, meta, refused
			}
		}
		if errors.Is(err, io.EOF) {
			return head, meta, nil
		}
		if err != nil {
			return head, meta, err
		}
	}
	return head, meta, nil
}
