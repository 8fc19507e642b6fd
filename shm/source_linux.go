// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package shm

// The file that a segment is filled from. What is in the page cache is read from there. A cold file is read past it
// (O_DIRECT): no second copy in memory, and no page cache of others pushed out by data that is never read from the
// file again.

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sector is a multiple of what any disk wants O_DIRECT to be aligned to.
const sector = 4096

type source struct {
	file    *os.File
	offset  int64 // of the part that is read
	length  int64
	cold    bool
	own     []*os.File // opened here
	direct  *os.File   // of a cold file; nil: it could not be opened so
	refused atomic.Bool
	cached  atomic.Bool // some of a cold file went through the page cache
}

// openSource looks whether a part of a file is cached and opens the file anew if it is not: with O_DIRECT, and once
// more for what that cannot read, without the readahead that would bring back what has just been dropped.
func openSource(file *os.File, offset, length int64) *source {
	s := &source{file: file, offset: offset, length: length, cold: cold(file, offset, length)}
	if !s.cold {
		return s
	}
	s.direct = s.open(unix.O_DIRECT)
	if plain := s.open(0); plain != nil {
		s.file = plain
		_ = control(plain, func(fd int) error { return unix.Fadvise(fd, 0, 0, unix.FADV_RANDOM) })
	}
	return s
}

// open returns nil where the file cannot be opened so.
func (s *source) open(flags int) (again *os.File) {
	_ = control(s.file, func(fd int) error {
		n, err := unix.Open(procPath(fd), unix.O_RDONLY|unix.O_CLOEXEC|flags, 0)
		if err == nil {
			again = os.NewFile(uintptr(n), s.file.Name())
			s.own = append(s.own, again)
		}
		return err
	})
	return again
}

// cold says whether less than half is cached (cachestat, Linux 6.5; newer kernels answer only for files that we may
// write). Where that cannot be known the answer is no.
func cold(file *os.File, offset, length int64) bool {
	var have unix.Cachestat_t
	part := unix.CachestatRange{Off: uint64(offset), Len: uint64(length)}
	err := control(file, func(fd int) error { return unix.Cachestat(uint(fd), &part, &have, 0) })
	return err == nil && int64(have.Cache)*int64(os.Getpagesize()) < length/2
}

// read fills p from the file at off, and may write beyond its length, within its capacity. io.ErrUnexpectedEOF: the
// file ends before that.
func (s *source) read(p []byte, off int64) error {
	piece := bufferSize
	if s.direct != nil {
		piece = windowSize
	}
	for len(p) > 0 {
		n, err := s.some(p[:min(len(p), piece)], off)
		if err != nil {
			return err
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

func (s *source) some(p []byte, off int64) (int, error) {
	address := int64(uintptr(unsafe.Pointer(&p[0])))
	if s.direct != nil && !s.refused.Load() && (off|address)%sector == 0 {
		n, err := pread(s.direct, p[:min(len(p)+sector-1, cap(p))&^(sector-1)], off)
		switch {
		case errors.Is(err, unix.EINVAL): // so say file systems that find out only now
			s.refused.Store(true)
		case n > 0 || err != nil:
			return min(n, len(p)), err
		}
	}
	n, err := s.file.ReadAt(p, off)
	if s.cold && n > 0 {
		s.cached.Store(true)
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// forget drops from the page cache what had to go through it, and the pages at its edges with it: a large folio goes
// whole or not at all.
func (s *source) forget(off, length int64) {
	if s.cached.Load() {
		from := off &^ (sector - 1)
		length = (off+length+sector-1)&^(sector-1) - from
		_ = control(s.file, func(fd int) error { return unix.Fadvise(fd, from, length, unix.FADV_DONTNEED) })
	}
}

// close forgets all of the part.
func (s *source) close() error {
	s.forget(s.offset, s.length)
	var err error
	for _, file := range s.own {
		err = errors.Join(err, file.Close())
	}
	return err
}

// pread is one read: at the end of a file os.File would go on with an offset that O_DIRECT does not take.
func pread(file *os.File, p []byte, off int64) (n int, err error) {
	err = control(file, func(fd int) error {
		for {
			if n, err = unix.Pread(fd, p, off); !errors.Is(err, unix.EINTR) {
				return err
			}
		}
	})
	return max(n, 0), err
}
