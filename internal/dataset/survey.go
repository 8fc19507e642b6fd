// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

// This file is what a file says about itself before it is loaded.

import (
	"context"
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

	unpacking int64 // bytes of memory that a decoder may hold
}

// maxHeaders is how many reads may go into finding out how much a packed file holds: the header of each block is one, which
// of 64 MiB of zstd are these, and a disk takes its time for each.
const maxHeaders = 512

// survey tells what a file of size bytes holds, and refuses what can be refused beforehand. If it is packed, unpack is asked
// before its beginning is unpacked.
func (o Options) survey(ctx context.Context, r io.ReaderAt, size int64, unpack func(facts) error) (facts, error) {
	r = &watchedReaderAt{ctx: ctx, r: r, told: func(int64) {}}
	head := make([]byte, codec.MemoryHead)
	n, err := r.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return facts{}, bare(err)
	}
	f := facts{kind: o.kind(head[:min(n, codec.HeadSize)]), size: size}
	if f.kind != codec.None {
		return o.surveyPacked(f, r, size, head[:n], unpack)
	}
	f.meta, err = o.inspect(r, size)
	if err == nil && f.meta.Rewrite {
		f.size, err = format.RewrittenSize(r, size)
	}
	f.sure = err == nil
	return f, err
}

func (o Options) surveyPacked(f facts, r io.ReaderAt, size int64, head []byte, unpack func(facts) error) (facts, error) {
	decoded, known := codec.DecodedSize(f.kind, &fewReads{ReaderAt: r, left: maxHeaders}, size)
	memory := codec.Memory(f.kind, head)
	f.unpacking = memory
	if f.size = codec.AtLeast(f.kind, head); known {
		f.size, f.unpacking = decoded, min(f.unpacking, decoded) // no window is used beyond that
	}
	if err := unpack(f); err != nil {
		return f, err
	}
	unpacked, err := codec.NewReaderWithin(f.kind, io.NewSectionReader(r, 0, size), memory)
	if err != nil {
		return f, err
	}
	defer unpacked.Close() //nolint:errcheck // only its beginning is read
	_, f.meta, err = o.peek(unpacked)
	if f.sure = known && f.meta.Format != format.Npz; !known { // that may have to be rewritten
		f.size = max(f.size, f.meta.Need)
	}
	if f.size == 0 {
		f.size = -1
	}
	return f, err
}

// fewReads is a file that ends after so many reads.
type fewReads struct {
	io.ReaderAt
	left int
}

func (r *fewReads) ReadAt(p []byte, off int64) (int, error) {
	if r.left--; r.left < 0 {
		return 0, io.ErrUnexpectedEOF
	}
	return r.ReaderAt.ReadAt(p, off)
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

// peekOften is up to where each new byte is looked at: headers are rarely longer.
const peekOften = 1 << 10

// peek reads as much of r as it takes to recognise or refuse it, and returns that too. A stream that says its format at once
// is not waited for.
func (o Options) peek(r io.Reader) (head []byte, meta format.Meta, err error) {
	meta.Format = format.Raw
	if o.Format == format.Raw {
		return nil, meta, nil
	}
	head = make([]byte, 0, format.PeekSize)
	for looked := 0; len(head) < cap(head) && meta.Need == 0; {
		n, readErr := r.Read(head[len(head):cap(head)])
		head = head[:len(head)+n]
		// Each look begins at the beginning: a source that comes in small pieces is not looked at after each of them.
		if n > 0 && (len(head) < peekOften || len(head) >= 2*looked) || readErr != nil && looked < len(head) || len(head) == cap(head) {
			looked = len(head)
			if meta, err = format.Peek(head); err != nil {
				return head, meta, err
			}
		}
		if errors.Is(readErr, io.EOF) {
			return head, meta, nil
		}
		if readErr != nil {
			return head, meta, readErr
		}
	}
	return head, meta, nil
}
