// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// The page scan by reading /proc/PID/pagemap: before Linux 6.7, and for what PAGEMAP_SCAN does not tell. It does not
// tell huge pages, and only root would see the zero page (which a mapping of a segment does not have).

import (
	"encoding/binary"
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// An entry of pagemap, from Documentation/admin-guide/mm/pagemap.rst: 64 bits for each page of the address space.
const (
	entryBytes     = 8
	entryFrame     = 1<<55 - 1 // of a page that is present; 0 without CAP_SYS_ADMIN (Linux 4.2)
	entryExclusive = 1 << 56   // no other mapping (Linux 4.2)
	entryFile      = 1 << 61   // of a file or shared
	entrySwapped   = 1 << 62
	entryPresent   = 1 << 63
)

// readMapping is scan without PAGEMAP_SCAN.
func (s *scanner) readMapping(fd int, m mapping, forked bool, out *runWriter) error {
	for start := m.start; start < m.end; {
		end := s.reading.end(start, m.end)
		begun := threadCPU()
		if err := s.readRange(fd, m, start, end, forked, out); err != nil {
			return err
		}
		s.reading.took(end-start, threadCPU()-begun)
		if s.stopped() {
			return errStopped
		}
		if start = end; start < m.end {
			pause()
		}
	}
	return nil
}

// readRange appends the pages at addresses [start, end).
func (s *scanner) readRange(fd int, m mapping, start, end uint64, forked bool, out *runWriter) error {
	for ; end-start > smallReach; start += smallReach {
		if err := s.readPart(fd, m, start, start+smallReach, forked, out); err != nil {
			return err
		}
	}
	return s.readPart(fd, m, start, end, forked, out)
}

// readPart is readRange for at most smallReach. The kernel holds the mmap lock for 2 MiB at a time.
func (s *scanner) readPart(fd int, m mapping, start, end uint64, forked bool, out *runWriter) error {
	if s.entries == nil {
		s.entries = make([]byte, smallReach/s.page*entryBytes)
	}
	entries := s.entries[:(end-start)/s.page*entryBytes]
	for done := 0; done < len(entries); {
		begun := time.Now()
		n, err := unix.Pread(fd, entries[done:], int64(start/s.page)*entryBytes+int64(done))
		s.calls.done(begun)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case n == 0: // the address space is gone
			return unix.ESRCH
		default:
			done += n
		}
	}
	first := m.pageOf(start, s.page)
	for i := range uint64(len(entries) / entryBytes) {
		entry := binary.NativeEndian.Uint64(entries[i*entryBytes:])
		switch c := classOfEntry(entry, m.shared, forked); c {
		case absent:
		case copiedShared:
			out.addShared(first+i, entry&entryFrame)
		default:
			out.add(first+i, first+i+1, c)
		}
	}
	return nil
}

// alive fails when the address space that a pagemap was opened on has ended, by an exit or an exec: what has been read of
// it meanwhile may be nothing, which is no error to PAGEMAP_SCAN.
func (s *scanner) alive(fd int) error {
	var entry [entryBytes]byte
	for {
		n, err := unix.Pread(fd, entry[:], 0)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case n == 0:
			return unix.ESRCH
		default:
			return nil
		}
	}
}

// classOfEntry is classOf for an entry of pagemap.
func classOfEntry(entry uint64, shared, forked bool) class {
	switch {
	case entry&(entryPresent|entrySwapped) == 0:
		return absent
	case entry&entryFile != 0 || shared:
		return file
	case entry&entryPresent == 0:
		return swapped
	case forked && entry&entryExclusive == 0:
		return copiedShared
	default:
		return copied
	}
}
