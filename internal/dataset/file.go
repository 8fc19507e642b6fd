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

// file is a regular file, read from the offset that it came with. It must not change meanwhile: half of an old and half of a
// new file would look whole.
type file struct {
	*io.SectionReader // what is to be loaded; leaves the file's own offset alone

	f      *os.File
	close  func() error
	before fs.FileInfo
	offset int64
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
	section := io.NewSectionReader(f, offset, info.Size()-offset)
	return &file{SectionReader: section, f: f, close: closeFile, before: info, offset: offset}, nil
}

// Finish notices a file that was changed since it was opened, also in place.
func (s *file) Finish(int64) error {
	after, err := s.f.Stat()
	if err != nil {
		return bare(err)
	}
	was, is := s.before.Size(), after.Size()
	switch {
	case is > was:
		return fmt.Errorf("grew beyond %s bytes while it was read: load it when it is complete", humanize.Comma(was))
	case is < was:
		return fmt.Errorf("shrank from %s to %s bytes while it was read: replace files by renaming a new one over them",
			humanize.Comma(was), humanize.Comma(is))
	case !after.ModTime().Equal(s.before.ModTime()):
		return errors.New("was changed while it was read: replace files by renaming a new one over them")
	}
	return nil
}

func (s *file) Close() error { return s.close() }
