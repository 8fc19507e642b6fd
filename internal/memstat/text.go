// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// Reading text files of /proc into a buffer that is kept, without allocating.

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/host"
)

// textReader reads whole files. What it returns is valid until the next read.
type textReader struct {
	buf    []byte
	access access
}

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

// file reads one file of a process and closes it. The error wraps what the kernel said: ESRCH and ENOENT mean that the
// process is gone, EACCES that it may not be looked into.
func (r *textReader) file(m *member, name string) ([]byte, error) {
	fd, err := r.open(m, name)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	path := m.dir + "/" + name
	text, err := r.pread(fd)
	if err != nil {
		return nil, cannotRead(path, err)
	}
	if len(text) == 0 { // the address space went between open and read; in a living one there are always some mappings
		return nil, cannotRead(path, unix.ESRCH)
	}
	return text, nil
}

// open opens a file of a process as whoever may.
func (r *textReader) open(m *member, name string) (fd int, err error) {
	path := m.dir + "/" + name
	err = r.access.try(m.proc, m.pid, func() error {
		fd, err = openProc(path)
		return err
	})
	if errors.Is(err, unix.ENOENT) {
		if _, there := host.Owner(m.dir); !there { // it may be one thread's, that has ended
			return fd, cannotRead(path, unix.ESRCH)
		}
		err = &unreadable{err: err, help: "this kernel is built without it (CONFIG_PROC_PAGE_MONITOR)"}
	}
	return fd, err
}

// openProc opens a file of /proc for reading.
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

// callTimer remembers the longest single call of this half hour and of the one before: a stall of long ago says nothing
// about now.
type callTimer struct {
	longest, before time.Duration
	since           time.Time     // this half hour began
	work            time.Duration // the most processor time of one PAGEMAP_SCAN over 4 KiB pages, since the start
}

func (t *callTimer) done(begun time.Time) {
	now := time.Now()
	t.turn(now)
	t.longest = max(t.longest, now.Sub(begun))
}

// lately is the longest call of the last half hour at least and of the last hour at most.
func (t *callTimer) lately(now time.Time) time.Duration {
	t.turn(now)
	return max(t.longest, t.before)
}

// turn begins another half hour when this one is over.
func (t *callTimer) turn(now time.Time) {
	const half = 30 * time.Minute
	switch past := now.Sub(t.since); {
	case past < half:
	case past < 2*half:
		t.longest, t.before, t.since = 0, t.longest, t.since.Add(half)
	default:
		t.longest, t.before, t.since = 0, 0, now
	}
}

// readRollup reads and parses the smaps_rollup of a process.
func readRollup(m *member, text *textReader, calls *callTimer) (rollup, error) {
	defer calls.done(time.Now())
	content, err := text.file(m, "smaps_rollup")
	if err != nil {
		return rollup{}, err
	}
	r, ok := parseRollup(content)
	if !ok {
		return r, fmt.Errorf("cannot use %s/smaps_rollup: it lacks Pss_Anon, Pss_File or Pss_Shmem (they need Linux 5.4)", m.dir)
	}
	return r, nil
}
