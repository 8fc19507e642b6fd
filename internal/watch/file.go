// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package watch

// This file is one watched file: what it was, what it is, and whether it rests.

import (
	"os"
	"syscall"
)

// identity tells one state of a file from every other; zero: it is missing.
type identity struct {
	dev, ino     uint64
	size         int64
	mtime, ctime int64
}

func identify(path string) identity {
	info, err := os.Stat(path)
	if err != nil {
		return identity{}
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return identity{}
	}
	return identity{
		dev: uint64(st.Dev), ino: st.Ino, size: st.Size, //nolint:unconvert // Dev's type depends on the architecture
		mtime: st.Mtim.Nano(), ctime: st.Ctim.Nano(),
	}
}

// restTicks make up the settle time.
const restTicks = 4

type file struct {
	name, path string
	told       identity // when it was set or told, never missing again once it was there
	seen       identity // at the last look
	pending    bool     // it may have to be told, when it rests
	moved      bool     // something happened since the last tick
	quiet      int      // ticks at rest
	restless   int      // ticks pending
	warned     bool     // of its restlessness
}

// touch notes that something happened to the file, or on the way to it.
func (f *file) touch() {
	f.moved, f.pending = true, true
}

// look notes when the file is another than at the last look.
func (f *file) look() {
	if now := identify(f.path); now != f.seen {
		f.seen = now
		f.touch()
	}
}

// tick counts how long the file has been at rest. It tells whether that is long enough for it to be told.
func (f *file) tick() (rested bool) {
	f.look()
	f.restless++
	if f.moved {
		f.moved, f.quiet = false, 0
		return false
	}
	f.quiet++
	if f.quiet >= restTicks && (f.seen == f.told || f.seen == identity{}) {
		f.settle()
	}
	return f.pending && f.quiet >= restTicks
}

// nearly tells whether the file will rest soon, by the looks of it.
func (f *file) nearly() bool { return f.pending && f.quiet > 0 && f.quiet < restTicks }

// settle ends the wait for rest.
func (f *file) settle() {
	f.pending, f.moved, f.warned, f.quiet, f.restless = false, false, false, 0, 0
}
