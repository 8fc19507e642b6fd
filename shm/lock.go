// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package shm

// Keeping data in RAM: a mapping with mlock, which swapping and reclaim leave alone as long as it lives.

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// Lock keeps memory in RAM until Close. Its methods must not be called at the same time.
type Lock struct{ view window }

// Lock keeps the whole segment in RAM. It counts against RLIMIT_MEMLOCK of this process, and outlives Close of the
// Segment. ctx is looked at every 64 MiB.
func (s *Segment) Lock(ctx context.Context) (*Lock, error) {
	l, err := lock(ctx, s.file, s.id.size)
	if err != nil {
		return nil, fmt.Errorf("cannot lock segment %q in memory: %w", s.name, err)
	}
	return l, nil
}

// LockFile reads a regular file into the page cache and keeps it there, as long as the file has its present size. The
// file may be closed then. ctx is looked at every 64 MiB.
func LockFile(ctx context.Context, file *os.File) (*Lock, error) {
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no regular file")
	}
	if err == nil && info.Size() == 0 {
		err = errors.New("it is empty")
	}
	var l *Lock
	if err == nil {
		l, err = lock(ctx, file, info.Size())
	}
	if err != nil {
		return nil, fmt.Errorf("cannot lock %s in memory: %w", file.Name(), err)
	}
	return l, nil
}

// Close lets the memory go. Calling it again does nothing.
func (l *Lock) Close() error { return l.view.close() }
