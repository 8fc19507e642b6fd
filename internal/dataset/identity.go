// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

// This file is how a later reload can tell that a source is what it was, without reading it.

import (
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// Identity tells one state of one file from every other: a file that was replaced, written or touched has another. The
// zero value is nobody's. Times are nanoseconds since 1970.
type Identity struct {
	Dev, Ino     uint64
	Size         int64
	MTime, CTime int64
}

// Identity returns that of the file which the source names now; false for sources that are no regular file.
func (s Spec) Identity() (Identity, bool) {
	if s.stream() {
		return Identity{}, false
	}
	info, err := os.Stat(s.Source)
	if err != nil || !info.Mode().IsRegular() {
		return Identity{}, false
	}
	return identity(info)
}

// Again tells whether the source can be loaded a second time. Standard input and pipes have been read.
func (s Spec) Again() bool {
	if s.Source == stdinSource {
		return false
	}
	info, err := os.Stat(s.Source)
	return s.stream() || err != nil || info.Mode()&fs.ModeNamedPipe == 0
}

// stream tells whether the source is no path.
func (s Spec) stream() bool {
	return s.Source == stdinSource || strings.HasPrefix(s.Source, commandPrefix)
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
