// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// Files that may be replaced while they are in use: certificates and passwords are changed without a restart.

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lookEvery = time.Second // at most so often
	maxFile   = 16 << 20    // bytes; more is the wrong file
)

// watched is what was read from some files. A new content that cannot be used is logged once, and the old value stays.
type watched[T any] struct {
	what  string // for the log
	paths []string
	read  func() (T, error)
	log   *slog.Logger

	value   atomic.Pointer[T]
	resting atomic.Bool // somebody looks, or has looked within lookEvery

	// Of whoever looks:
	stamps    []stamp
	complaint string
}

// watch reads the files for the first time.
func watch[T any](what string, read func() (T, error), paths ...string) (*watched[T], error) {
	w := &watched[T]{what: what, paths: paths, read: read, log: slog.New(slog.DiscardHandler), stamps: stampsOf(paths)}
	value, err := read()
	if err != nil {
		return nil, err
	}
	w.value.Store(&value)
	return w, nil
}

// get returns the newest value. Whoever calls it first after a second looks at the files; the others do not wait for
// that.
func (w *watched[T]) get() T {
	if w.resting.CompareAndSwap(false, true) {
		w.look()
		time.AfterFunc(lookEvery, func() { w.resting.Store(false) })
	}
	return *w.value.Load()
}

// look reads the files again when they have changed, or when they could not be used the last time.
func (w *watched[T]) look() {
	stamps := stampsOf(w.paths)
	if slices.Equal(stamps, w.stamps) && w.complaint == "" {
		return
	}
	w.stamps = stamps // from before the reading: a change meanwhile is seen the next time
	value, err := w.read()
	if err != nil {
		if err.Error() != w.complaint {
			w.complaint = err.Error()
			w.log.Error("the stats go on with what was read before", "what", w.what, "error", err)
		}
		return
	}
	w.complaint = ""
	w.value.Store(&value)
	w.log.Info("the stats use what was read anew", "what", w.what, "files", w.paths)
}

// stamp tells one content of a file from another.
type stamp struct {
	dev, ino     uint64
	size         int64
	mtime, ctime unix.Timespec
	err          error
}

func stampsOf(paths []string) []stamp {
	stamps := make([]stamp, len(paths))
	for i, path := range paths {
		var s unix.Stat_t
		if err := unix.Stat(path, &s); err != nil {
			stamps[i].err = err // an errno, which can be compared
			continue
		}
		stamps[i] = stamp{dev: s.Dev, ino: s.Ino, size: s.Size, mtime: s.Mtim, ctime: s.Ctim}
	}
	return stamps
}

// readFile reads a file that is one: a pipe would not come to its end, and has nothing to be read again.
func readFile(path string) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // opening a pipe would wait for its writer
	if err != nil {
		return nil, cause(err)
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, cause(err)
	case !info.Mode().IsRegular():
		return nil, errors.New("it is not a regular file")
	}
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	switch {
	case err != nil:
		return nil, cause(err)
	case len(text) > maxFile:
		return nil, fmt.Errorf("it has more than %d bytes", maxFile)
	}
	return text, nil
}
