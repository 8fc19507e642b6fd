// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

// This file is how a later reload can tell that a source is what it was, without reading it.

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Identity tells one state of one file from every other: a file that was replaced, written or touched has another. The
// zero value is nobody's. Times are nanoseconds since 1970.
type Identity struct {
	Dev, Ino     uint64
	Size         int64
	MTime, CTime int64
}

// Identity returns that of the file which the source names now, or of the directory of a direct source; false for all else.
func (s Spec) Identity() (Identity, bool) {
	switch {
	case s.stream():
		return Identity{}, false
	case s.Direct():
		d, err := lookDirect(s.path())
		if err != nil {
			return Identity{}, false
		}
		return d.identity, true
	}
	info, err := os.Stat(s.Source)
	if err != nil || !info.Mode().IsRegular() {
		return Identity{}, false
	}
	return identity(info)
}

// Again tells whether the source can be loaded a second time. Standard input and pipes have been read.
func (s Spec) Again() bool { return s.Source != stdinSource && !s.fifo() }

// File is the absolute path of a source that is a file or a directory, where a change of it shows; "" for all else.
func (s Spec) File() string {
	path := s.path()
	if path == "" || s.fifo() {
		return ""
	}
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

func (s Spec) fifo() bool {
	info, err := os.Stat(s.path())
	return err == nil && info.Mode()&fs.ModeNamedPipe != 0
}

func identity(info fs.FileInfo) (Identity, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return Identity{}, false
	}
	return Identity{
		Dev: uint64(st.Dev), Ino: st.Ino, Size: st.Size, //nolint:unconvert // Dev's type depends on the architecture
		MTime: st.Mtim.Nano(), CTime: st.Ctim.Nano(),
	}, true
}
