// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package format

// This file checks pk5, the container of a Python object that was pickled by protocol 5 with its large buffers out of
// band. Numbers are little endian.
//
//	offset  bytes
//	     0      8  magic: \x93 P K 5 \r \n \x1a \n
//	     8      4  version: 1
//	    12      4  count of entries, at least 1
//	    16      8  total size of the container
//	    24  24×n   entries: offset (8), length (8), flags (8)
//
// Entry 0 is the pickle stream: it begins with \x80\x05 and ends with a full stop. The others are the buffers in the
// order in which pickle handed them out (buffer_callback), which is the order in which it wants them back (buffers=).
// Each entry begins at a multiple of 64, not before the end of the one before it; what lies between is padding. Flag
// bit 0 says that the buffer was read-only when it was pickled; the other bits must be 0.
//
// clients/python/src/preforkd/pk5.py writes and reads it. preforkd never unpickles: only these numbers are looked at.

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	humanize "github.com/dustin/go-humanize"
)

const (
	pk5Magic   = "\x93PK5\r\n\x1a\n"
	pk5Version = 1
	pk5Head    = 24
	pk5Entry   = 24
	pk5Align   = 64
	// pk5ReadOnly says that the buffer was read-only when it was pickled.
	pk5ReadOnly = 1
)

// pk5 describes content that begins with pk5Magic.
func (c content) pk5() (Meta, error) {
	meta := Meta{Format: Pk5}
	head, err := c.read(0, pk5Head)
	if err != nil {
		return meta, err
	}
	if v := binary.LittleEndian.Uint32(head[8:]); v != pk5Version {
		return meta, fmt.Errorf("pk5 version %d is not known: write it again with a client of this preforkd", v)
	}
	count, total := int64(binary.LittleEndian.Uint32(head[12:])), binary.LittleEndian.Uint64(head[16:])
	end := pk5Head + count*pk5Entry
	switch {
	case count == 0:
		return meta, errors.New("damaged pk5: it has no pickle stream")
	case total > math.MaxInt64 || int64(total) < end:
		return meta, fmt.Errorf("damaged pk5: %d entries do not fit a total of %d bytes", count, total)
	case !c.part && c.size < int64(total):
		return meta, fmt.Errorf("%w pk5: its header says %s bytes in all, but it has %s", ErrTruncated,
			humanize.Comma(int64(total)), humanize.Comma(c.size))
	case !c.part && c.size > int64(total):
		return meta, fmt.Errorf("damaged pk5: its header says %s bytes in all, but it has %s",
			humanize.Comma(int64(total)), humanize.Comma(c.size))
	}
	meta.Need = int64(total)
	pickle, err := c.pk5Table(count, end, int64(total))
	if c.part && errors.Is(err, errShort) {
		return meta, nil
	}
	if err != nil || c.part {
		return meta, err
	}
	return meta, c.pk5Pickle(pickle)
}

// pk5Range is where an entry lies.
type pk5Range struct{ offset, length int64 }

// pk5Table checks the entries, of which the first may begin at end, and returns the first.
func (c content) pk5Table(count, end, total int64) (first pk5Range, err error) {
	table := bufio.NewReaderSize(io.NewSectionReader(c.r, pk5Head, count*pk5Entry), PeekSize)
	var b [pk5Entry]byte
	for i := range count {
		if _, err := io.ReadFull(table, b[:]); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return first, errShort
		} else if err != nil {
			return first, err
		}
		offset, length := binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])
		flags := binary.LittleEndian.Uint64(b[16:])
		switch {
		case flags&^pk5ReadOnly != 0:
			return first, fmt.Errorf("damaged pk5: entry %d has flags %#x, of which preforkd knows only bit 0", i, flags)
		case offset%pk5Align != 0:
			return first, fmt.Errorf("damaged pk5: entry %d begins at byte %d, which is no multiple of %d", i, offset,
				pk5Align)
		case offset < uint64(end):
			return first, fmt.Errorf("damaged pk5: entry %d begins at byte %d, within what comes before it", i, offset)
		case offset > uint64(total) || length > uint64(total)-offset:
			return first, fmt.Errorf("damaged pk5: entry %d (%d bytes at %d) lies outside its %d bytes", i, length, offset,
				total)
		}
		end = int64(offset + length)
		if i == 0 {
			first = pk5Range{int64(offset), int64(length)}
		}
	}
	return first, nil
}

// pk5Pickle checks that the pickle stream is one of protocol 5, and whole.
func (c content) pk5Pickle(at pk5Range) error {
	if at.length >= 3 {
		start, err := c.read(at.offset, 2)
		if err != nil {
			return err
		}
		last, err := c.read(at.offset+at.length-1, 1)
		if err != nil {
			return err
		}
		if start[0] == 0x80 && start[1] == 5 && last[0] == '.' {
			return nil
		}
	}
	return errors.New("damaged pk5: entry 0 is not a whole pickle of protocol 5")
}
