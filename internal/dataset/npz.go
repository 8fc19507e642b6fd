// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

// This file rewrites an npz on its way into a segment, so that its arrays can be mapped where they lie.

import (
	"context"
	"io"

	"github.com/preforkd/preforkd/internal/format"
	"github.com/preforkd/preforkd/shm"
)

// rewrite writes the npz in r anew into a segment.
func (j *job) rewrite(ctx context.Context, r io.ReaderAt, size int64) (*shm.Writer, error) {
	w, err := j.create()
	if err != nil {
		return nil, err
	}
	j.rewritten = true
	watched := &watchedReaderAt{ctx: ctx, r: r, told: func(read int64) {
		j.loaded = w.Size()
		j.tell(min(read, size))
	}}
	if err = format.RewriteNpz(w, watched, size); err == nil {
		j.loaded = w.Size()
		return w, nil
	}
	_ = w.Close()
	return nil, err
}

// replace rewrites what has come as a stream and gives it up. Both are held for a while.
func (j *job) replace(ctx context.Context, raw *shm.Writer) (*shm.Writer, error) {
	defer raw.Close() //nolint:errcheck // nobody needs it any more
	size, err := format.RewrittenSize(raw, raw.Size())
	if err != nil {
		return raw, err
	}
	held := j.account.next()
	if err := j.account.admit(size); err != nil {
		return raw, err
	}
	w, err := j.rewrite(ctx, raw, raw.Size())
	if err != nil {
		return raw, err
	}
	if err := raw.Close(); err != nil {
		return w, err
	}
	j.account.freed(held)
	j.meta, err = j.Options.inspect(w, w.Size())
	return w, err
}

// watchedReaderAt tells how much was read, and ends with the context.
type watchedReaderAt struct {
	ctx  context.Context //nolint:containedctx // ReadAt has none
	r    io.ReaderAt
	n    int64
	told func(n int64)
}

func (r *watchedReaderAt) ReadAt(p []byte, off int64) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	n, err := r.r.ReadAt(p, off)
	r.n += int64(n)
	r.told(r.n)
	return n, err
}
