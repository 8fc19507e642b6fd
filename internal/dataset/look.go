// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

// This file looks at a source without loading it.

import (
	"context"
	"io/fs"

	"github.com/preforkd/preforkd/internal/codec"
	"github.com/preforkd/preforkd/internal/dataset/remote"
	"github.com/preforkd/preforkd/internal/format"
)

// Look is what can be told of a source without loading it.
type Look struct {
	Format     string     // "" when only a load can tell
	Codec      codec.Kind // of a file
	Size       int64      // bytes of content, -1 when only a load can tell
	AtLeast    bool       // there may be more than Size: a header says it, of the first part
	SourceSize int64      // bytes of the source, -1 when it is not known
	DType      string     // npy
	Shape      []int64    // npy; nil for all else
	Members    int        // arrays in an npz or a safetensors file
	Ext        string     // suffix of the path that workers will see
	Hint       string     // one sentence: why workers will not share this, and what to do
}

// Look is the cheap part of a load, to be asked before anything is started. It finds a missing, unreadable or empty file, a
// directory, a device, an array that is truncated or cannot be shared, a server that refuses. For standard input, pipes and
// commands nothing is read or started, and only their text is checked. The error is an [*Error].
func (s Spec) Look(ctx context.Context) (Look, error) {
	look, err := s.look(ctx)
	if err != nil {
		return Look{}, s.fail(err)
	}
	return look, nil
}

func (s Spec) look(ctx context.Context) (look Look, err error) {
	look = Look{Size: -1, SourceSize: -1}
	if err := s.checkSource(); err != nil {
		return look, err
	}
	switch {
	case s.Direct():
		d, err := openDirect(s.path())
		if err == nil {
			look.Format, look.Size, look.SourceSize = format.Raw, d.size, d.size
		}
		return look, err
	case s.remote():
		look.Ext = s.ext("", codec.None, false)
		o := remote.Options{Headers: s.Options.Headers, TokenFile: s.Options.TokenFile}
		look.SourceSize, err = remote.Head(ctx, s.Source, o)
		return look, err
	case s.stream():
		return look, nil
	}
	info, err := statSource(s.Source)
	if err != nil {
		return look, err
	}
	if look.Ext = s.ext("", codec.None, false); info.Mode()&fs.ModeNamedPipe != 0 {
		return look, nil // opening a FIFO would wake its writer
	}
	return look, s.lookFile(ctx, &look)
}

func (s Spec) lookFile(ctx context.Context, look *Look) error {
	file, err := openFile(s.Source)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // only read from
	src, err := newFile(file, file.Close)
	if err != nil {
		return err
	}
	found, err := s.Options.survey(ctx, src, src.Size(), func(facts) error { return nil })
	if err != nil {
		return err
	}
	m := found.meta
	*look = Look{
		Format: m.Format, Codec: found.kind, Size: -1, SourceSize: src.Size(), DType: m.DType, Shape: m.Shape,
		Members: len(m.Members), Ext: s.ext(m.Format, found.kind, false), Hint: m.Hint,
	}
	switch {
	case found.sure:
		look.Size = found.size
	case m.Format != format.Npz && found.size > 0: // an npz is rewritten, and its size with it
		look.Size, look.AtLeast = found.size, true
	}
	return nil
}
