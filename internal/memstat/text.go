// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// Reading text files of /proc into a buffer that is kept, without allocating.

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// textReader reads whole files. What it returns is valid until the next read.
type textReader struct{ buf []byte }

// pread reads all of an open file from its beginning.
func (r *textReader) pread(fd int) ([]byte, error) {
	if r.buf == nil {
		r.buf = make([]byte, 8<<10) // status is 1.5 KiB, smaps_rollup 1 KiB, maps of Python with numpy 70 KiB
	}
	n := 0
	for {
		if n == len(r.buf) {
			r.buf = append(r.buf, make([]byte, len(r.buf))...)
		}
		got, err := unix.Pread(fd, r.buf[n:], int64(n))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return nil, err
		case got == 0:
			return r.buf[:n], nil
		default:
			n += got
		}
	}
}

// file opens, reads and closes one file. The error wraps what the kernel said: ESRCH and ENOENT mean that the process
// is gone, EACCES that it may not be looked into.
func (r *textReader) file(path string) ([]byte, error) {
	fd, err := openProc(path)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	text, err := r.pread(fd)
	if err != nil {
		return nil, cannotRead(path, err)
	}
	return text, nil
}

// openProc opens a file of /proc for reading. Every open of this package goes through it: it is the place where a
// worker of another uid will be opened with that uid (DESIGN section 6).
func openProc(path string) (int, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return -1, cannotRead(path, err)
		}
		return fd, nil
	}
}

func cannotRead(path string, err error) error { return fmt.Errorf("cannot read %s: %w", path, err) }

// gone tells whether err says that the process has ended, which is no failure of the reading.
func gone(err error) bool {
	return errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT)
}

// callTimer remembers the longest single call.
type callTimer struct{ longest time.Duration }

func (t *callTimer) done(begun time.Time) { t.longest = max(t.longest, time.Since(begun)) }

// readRollup reads and parses a smaps_rollup.
func readRollup(path string, text *textReader, calls *callTimer) (rollup, error) {
	defer calls.done(time.Now())
	content, err := text.file(path)
	if err != nil {
		return rollup{}, err
	}
	r, ok := parseRollup(content)
	switch {
	case len(content) == 0: // the address space went between open and read
		return r, cannotRead(path, unix.ESRCH)
	case !ok:
		return r, fmt.Errorf("cannot use %s: it lacks Pss_Anon, Pss_File or Pss_Shmem (they need Linux 5.4)", path)
	}
	return r, nil
}
