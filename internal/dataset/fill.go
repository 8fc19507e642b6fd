// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

// This file brings the content of a source into a sealed segment.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"

	"github.com/preforkd/preforkd/internal/codec"
	"github.com/preforkd/preforkd/internal/dataset/remote"
	"github.com/preforkd/preforkd/shm"
)

// fill makes a segment of a source, or finds that what serves is the same.
func (l *Loader) fill(ctx context.Context, j *job) (*Loaded, error) {
	w, err := j.write(ctx)
	if err != nil {
		return nil, err
	}
	defer w.Close() //nolint:errcheck // it is sealed, or the error is another one
	loaded := &Loaded{
		Spec: j.Spec, Meta: j.meta, Codec: j.kind, Ext: j.ext(j.meta.Format, j.kind, j.src.Size() < 0),
		SourceSize: j.read, size: w.Size(), made: j.making, note: w.Note(),
	}
	if f := j.file(); f != nil && !j.Spec.stream() {
		loaded.Identity, _ = identity(f.before)
	}
	if r, ok := j.src.(*remote.Source); ok {
		loaded.Validator = r.Validator()
	}
	if j.kind == codec.None && !j.rewritten { // the source's bytes are the content
		loaded.SHA256 = j.Options.SHA256
	}
	if loaded.Segment, err = w.Seal(); err != nil {
		return nil, err
	}
	if same, err := l.compare(ctx, j, loaded); same != nil || err != nil {
		_ = loaded.Segment.Close()
		return same, err
	}
	if j.lock {
		lock, err := loaded.Segment.Lock(ctx)
		if err != nil {
			_ = loaded.Segment.Close()
			return nil, err
		}
		loaded.locks = []*shm.Lock{lock}
	}
	return loaded, nil
}

// compare returns what serves when it has the same content, means the same and was made in the same way; else nil.
func (l *Loader) compare(ctx context.Context, j *job, loaded *Loaded) (*Loaded, error) {
	have := l.Have[j.Name]
	if have == nil || have.Segment == nil || have.size != loaded.size || have.made != loaded.made ||
		!reflect.DeepEqual(have.Meta, loaded.Meta) {
		return nil, nil
	}
	equal, err := shm.Equal(ctx, have.Segment, loaded.Segment)
	if err != nil || !equal {
		return nil, err
	}
	same := l.same(j, have)
	same.Identity, same.Validator = loaded.Identity, loaded.Validator
	return same, nil
}

// write brings the whole content into a new segment and checks it: the end of the source, its digest, its format.
func (j *job) write(ctx context.Context) (w *shm.Writer, err error) {
	if f := j.file(); f != nil && j.kind == codec.None {
		return j.fromFile(ctx, f)
	}
	if j.stream == nil {
		j.stream = newStream(ctx, j.src, j.Options)
	}
	return j.fromStream(ctx, j.stream)
}

func (j *job) fromFile(ctx context.Context, f *file) (w *shm.Writer, err error) {
	j.tell(0)
	hashed := io.ReaderAt(f)
	if j.meta.Rewrite {
		w, err = j.rewrite(ctx, f, f.Size())
	} else if w, err = j.copy(ctx, f); err == nil {
		hashed = w
	}
	defer func() {
		if err != nil && w != nil {
			_ = w.Close()
		}
	}()
	if err == nil && j.Options.SHA256 != "" {
		var sum string
		if sum, err = digest(ctx, hashed, f.Size()); err == nil {
			err = j.Options.checkSum(sum)
		}
	}
	if changed := f.Finish(f.Size()); changed != nil { // whatever else went wrong came of that
		err = changed
	}
	if err == nil {
		j.meta, err = j.Options.inspect(w, w.Size())
	}
	j.tell(f.Size())
	return w, err
}

// copy copies a file as it is. All its bytes have been promised.
func (j *job) copy(ctx context.Context, f *file) (*shm.Writer, error) {
	w, err := shm.Create(j.Name, shm.Options{Huge: j.huge})
	if err != nil {
		return nil, err
	}
	return w, w.Fill(ctx, f.f, f.offset, f.Size(), shm.FillOptions{Progress: func(done int64) {
		j.account.wrote(done)
		j.loaded = done
		j.tell(done)
	}})
}

// fromStream reads a source from its beginning to its end.
func (j *job) fromStream(ctx context.Context, s *stream) (w *shm.Writer, err error) {
	if w, err = j.create(); err != nil { // first of all: whoever waits for a pipe holds nothing else yet
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = w.Close()
		}
	}()
	if s.Reader == nil {
		if err := s.begin(j.Options, j.unpack); err != nil {
			return w, s.why(err)
		}
		j.kind, j.meta = s.kind, s.meta
		if err := j.account.admit(j.meta.Need); err != nil {
			return w, err
		}
	}
	j.tell(s.raw.n.Load())
	if err := j.pour(w, s); err != nil {
		return w, s.why(err)
	}
	if err := s.finish(); err != nil {
		return w, err
	}
	s.close()
	j.account.unpacked()
	if j.Options.SHA256 != "" {
		if err := j.Options.checkSum(s.sum()); err != nil {
			return w, err
		}
	}
	if w.Size() == 0 {
		return w, errors.New("is empty when it is unpacked")
	}
	if j.meta, err = j.Options.inspect(w, w.Size()); err != nil {
		return w, err
	}
	if j.meta.Rewrite {
		w, err = j.replace(ctx, w)
	}
	j.tell(s.raw.n.Load())
	return w, err
}

// create makes a segment that asks for its memory as it grows.
func (j *job) create() (*shm.Writer, error) {
	return shm.Create(j.Name, shm.Options{Huge: j.huge, Grow: j.account.grow})
}

// pour writes what a stream gives.
func (j *job) pour(w *shm.Writer, s *stream) error {
	p := &poured{Reader: s.Reader, told: func(n int64) {
		j.loaded = n
		j.tell(s.raw.n.Load())
	}}
	if _, err := w.ReadFrom(p); p.err == nil {
		return err
	}
	return p.err // not as the segment repeats it
}

// poured counts what is read, and keeps the error that ended it.
type poured struct {
	io.Reader
	n    int64
	told func(n int64)
	err  error
}

func (p *poured) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	p.n += int64(n)
	p.told(p.n)
	if err != nil && !errors.Is(err, io.EOF) {
		p.err = err
	}
	return n, err
}

// checkSum compares the digest of the source's bytes with the one that was asked for.
func (o Options) checkSum(sum string) error {
	if sum == o.SHA256 {
		return nil
	}
	return fmt.Errorf("sha256 is %s, expected %s: it is another version, or damaged", sum, o.SHA256)
}
