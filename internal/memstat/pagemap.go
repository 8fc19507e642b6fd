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
	entryExclusive = 1 << 56 // no other mapping (Linux 4.2)
	entryFile      = 1 << 61 // of a file or shared
	entrySwapped   = 1 << 62
	entryPresent   = 1 << 63
)

// readMapping is scan without PAGEMAP_SCAN.
func (s *scanner) readMapping(fd int, m mapping, forked bool, out *runWriter) error {
	for start := m.start; start < m.end; {
		end := min(start-start%scanBytes+scanBytes, m.end)
		if err := s.readRange(fd, m, start, end, forked, out); err != nil {
			return err
		}
		if s.stopped() {
			return errStopped
		}
		if start = end; start < m.end {
			pause()
		}
	}
	return nil
}

// readRange appends the pages at addresses [start, end), at most scanBytes of them.
func (s *scanner) readRange(fd int, m mapping, start, end uint64, forked bool, out *runWriter) error {
	if s.entries == nil {
		s.entries = make([]byte, scanBytes/s.page*entryBytes)
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
		c := classOfEntry(binary.NativeEndian.Uint64(entries[i*entryBytes:]), m.shared, forked)
		if c != absent {
			out.add(first+i, first+i+1, c)
		}
	}
	return nil
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
