// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	humanize "github.com/dustin/go-humanize"
)

var errEmpty = errors.New("is empty")

// file is a regular file, read from its present offset. It must not change meanwhile: half of an old and half of a new
// file would look whole.
type file struct {
	f      *os.File
	close  func() error
	before fs.FileInfo
	size   int64
	read   int64
}

func newFile(f *os.File, closeFile func() error) (*file, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, bare(err)
	}
	offset, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, bare(err)
	}
	if info.Size() <= offset {
		return nil, errEmpty
	}
	return &file{f: f, close: closeFile, before: info, size: info.Size() - offset}, nil
}

func (s *file) Size() int64 { return s.size }

func (s *file) Read(p []byte) (int, error) {
	n, err := s.f.Read(p)
	s.read += int64(n)
	switch {
	case s.read > s.size:
		return 0, fmt.Errorf("grew beyond %s bytes while it was read: load it when it is complete", humanize.Comma(s.size))
	case errors.Is(err, io.EOF) && s.read < s.size:
		return n, fmt.Errorf("shrank from %s to %s bytes while it was read: replace files by renaming a new one over them",
			humanize.Comma(s.size), humanize.Comma(s.read))
	case errors.Is(err, io.EOF):
		return n, io.EOF
	}
	return n, bare(err)
}

// Finish also notices bytes that were changed in place.
func (s *file) Finish(int64) error {
	after, err := s.f.Stat()
	if err != nil {
		return bare(err)
	}
	if after.Size() != s.before.Size() || !after.ModTime().Equal(s.before.ModTime()) {
		return errors.New("was changed while it was read: replace files by renaming a new one over them")
	}
	return nil
}

func (s *file) Close() error { return s.close() }
