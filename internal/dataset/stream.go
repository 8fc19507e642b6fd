// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

// This file reads a source from its beginning to its end and unpacks it on the way.

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/preforkd/preforkd/internal/codec"
	"github.com/preforkd/preforkd/internal/format"
)

// stream is a source on its way into memory. Its content is what Read gives after begin.
type stream struct {
	io.Reader

	raw      *intake
	kind     codec.Kind
	meta     format.Meta // by the beginning of the content
	unpacker io.Closer
}

func newStream(ctx context.Context, src source, o Options) *stream {
	raw := &intake{ctx: ctx, src: src}
	if o.SHA256 != "" {
		raw.hash = sha256.New()
	}
	return &stream{raw: raw}
}

// begin reads as much as it takes to recognise how the source is packed and what it holds. It asks unpack for the memory that
// unpacking takes.
func (s *stream) begin(o Options, unpack func(memory int64) error) error {
	head, err := readTo(s.raw, nil, codec.HeadSize)
	if err != nil {
		return err
	}
	if s.kind = o.kind(head); s.kind != codec.None {
		if head, err = readTo(s.raw, head, codec.MemoryHead); err != nil {
			return err
		}
	}
	content := io.MultiReader(bytes.NewReader(head), s.raw)
	if s.kind != codec.None {
		memory := codec.Memory(s.kind, head)
		if err := unpack(memory); err != nil {
			return err
		}
		unpacked, err := codec.NewReaderWithin(s.kind, content, memory)
		if err != nil {
			return err
		}
		s.unpacker, content = unpacked, unpacked
	}
	first, meta, err := o.peek(content)
	s.meta = meta
	s.Reader = io.MultiReader(bytes.NewReader(first), content)
	return err
}

// readTo reads on until head has so many bytes, or to the end.
func readTo(r io.Reader, head []byte, size int) ([]byte, error) {
	whole := append(head, make([]byte, size-len(head))...) //nolint:gocritic // it is head again
	n, err := io.ReadFull(r, whole[len(head):])
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return whole[:len(head)+n], err
}

// finish is asked when the content has ended: were these all bytes of the source, and right?
func (s *stream) finish() error {
	if s.unpacker != nil {
		if n, err := s.raw.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
			return errors.Join(errors.New("goes on behind the end of what is packed in it"), err)
		}
	}
	return s.raw.finish()
}

// why is the reason behind an error of reading or understanding the content: that the output of a command is cut off is only
// the consequence of its failure.
func (s *stream) why(err error) error {
	if s.raw.ended.Load() {
		if reason := s.raw.finish(); reason != nil {
			return reason
		}
	}
	return err
}

// sum is the SHA-256 of the source's bytes, in hex, once they have all been read.
func (s *stream) sum() string { return hex.EncodeToString(s.raw.hash.Sum(nil)) }

// close ends the unpacking, lets go of what was used for it, and waits until nobody reads the source any more, so that its owner
// may close it. A Read that waits for data is ended by the context, which has ended before unless all was read.
func (s *stream) close() {
	if s.unpacker != nil {
		_ = s.unpacker.Close()
	}
	s.unpacker, s.Reader = nil, nil
	s.raw.mu.Lock()
	s.raw.closed = true
	s.raw.mu.Unlock()
}

// intake reads the source's bytes as they come. An unpacker calls Read from a goroutine of its own.
type intake struct {
	ctx      context.Context //nolint:containedctx // Read has none
	src      source
	hash     hash.Hash // nil when nobody asks for the digest
	n        atomic.Int64
	ended    atomic.Bool
	finished bool
	verdict  error

	mu     sync.Mutex // held by Read
	closed bool
}

func (r *intake) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.ctx.Err() != nil:
		return 0, context.Cause(r.ctx)
	case r.closed:
		return 0, os.ErrClosed
	case r.ended.Load():
		return 0, io.EOF
	}
	n, err := r.src.Read(p)
	if n > 0 && r.hash != nil {
		r.hash.Write(p[:n])
	}
	r.n.Add(int64(n))
	if errors.Is(err, io.EOF) {
		r.ended.Store(true)
	}
	return n, err
}

// finish asks the source once and repeats its answer.
func (r *intake) finish() error {
	if !r.finished {
		r.finished, r.verdict = true, r.src.Finish(r.n.Load())
	}
	return r.verdict
}
