// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

// What a segment costs whoever maps it: attaching, page tables, reading rows here and there.

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/shm"
)

const (
	rowSize = 512 // bytes: 128 float32
	// mix spreads numbers over all rows (Knuth's constant for 64 bits).
	mix = 6364136223846793005
)

// held is a segment that is kept between orders.
type held = shm.Segment

// segment makes one, of huge pages or not, and tells how much of it is huge.
func (b *bench) segment(o order) (answer, error) {
	mode := shm.HugeOff
	if o.Huge {
		mode = shm.HugeAuto
	}
	w, err := shm.Create("rows", shm.Options{Huge: mode})
	if err != nil {
		return nil, err
	}
	defer w.Close() //nolint:errcheck // it is sealed, or the error is another one
	piece, content := make([]byte, block), noise(1)
	for at := int64(0); at < o.Bytes; at += block {
		content(piece, at)
		if _, err := w.Write(piece); err != nil {
			return nil, err
		}
	}
	segment, err := w.Seal()
	if err != nil {
		return nil, err
	}
	if b.segments == nil {
		b.segments = map[string]*held{}
	}
	b.segments[o.Path] = segment
	return answer{"huge": segment.Huge(), "note": w.Note()}, nil
}

// attach maps a segment, as most do ("plain") or at a huge page's boundary ("aligned"), twice: to touch it page by page,
// and to have the kernel populate it and read rows.
func (b *bench) attach(o order) (answer, error) {
	segment := b.segments[o.Path]
	if segment == nil {
		return nil, fmt.Errorf("there is no segment %q", o.Path)
	}
	file, err := segment.Open()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	a := answer{}
	mapIt := func() (m area, err error) {
		a["map"], err = timed(func() error {
			if o.Kind == "aligned" {
				m, err = mapAligned(int(file.Fd()), segment.Size(), unix.PROT_READ, unix.MAP_SHARED)
			} else {
				m, err = mapPlain(int(file.Fd()), segment.Size(), unix.PROT_READ, unix.MAP_SHARED)
			}
			return err
		})
		return m, err
	}
	m, err := mapIt()
	if err != nil {
		return nil, err
	}
	sum := byte(0)
	a["touch"], _ = timed(func() error {
		for i := int64(0); i < segment.Size(); i += smallPage {
			sum += m.data[i]
		}
		return nil
	})
	if err := m.unmap(); err != nil {
		return nil, err
	}

	before, err := pageTables()
	if err != nil {
		return nil, err
	}
	if m, err = mapIt(); err != nil {
		return nil, err
	}
	if a["populate"], err = timed(func() error { return unix.Madvise(m.data, unix.MADV_POPULATE_READ) }); err != nil {
		return nil, err
	}
	after, err := pageTables()
	if err != nil {
		return nil, err
	}
	a["page_tables"] = after - before
	if a["mapped_huge"], err = mappedHuge(segment.Ino()); err != nil {
		return nil, err
	}
	const dependents, independents = 1 << 20, 1 << 22
	found := uint64(0)
	dependent, _ := timed(func() error { found += chase(m.data, dependents); return nil })
	independent, _ := timed(func() error { found += scatter(m.data, independents); return nil })
	a["dependent"], a["independent"] = dependent/dependents, independent/independents
	a["unmap"], err = timed(m.unmap)
	a["found"] = found + uint64(sum) // printed, so that the compiler cannot leave the reads out
	return a, err
}

// chase reads a word of n rows, each of which decides which is the next.
func chase(data []byte, n int) uint64 {
	rows, at, sum := uint64(len(data)/rowSize), uint64(0), uint64(0)
	for i := range uint64(n) {
		sum += binary.LittleEndian.Uint64(data[at*rowSize+8*3:])
		at, _ = bits.Mul64((sum^i)*mix, rows)
	}
	return sum
}

// scatter reads a word of n rows, in any order that the processor likes.
func scatter(data []byte, n int) uint64 {
	rows, sum := uint64(len(data)/rowSize), uint64(0)
	for i := range uint64(n) {
		at, _ := bits.Mul64((i+1)*mix, rows)
		sum += binary.LittleEndian.Uint64(data[at*rowSize+8*3:])
	}
	return sum
}

// pageTables is VmPTE of this process, in bytes.
func pageTables() (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	return kilobytes(status, "VmPTE:")
}

// mappedHuge is how much of a segment this process has mapped by huge pages, in bytes.
func mappedHuge(inode uint64) (int64, error) {
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return 0, err
	}
	at := bytes.Index(smaps, fmt.Appendf(nil, " %d ", inode))
	if at < 0 {
		return 0, fmt.Errorf("inode %d is not mapped", inode)
	}
	return kilobytes(smaps[at:], "ShmemPmdMapped:")
}

// kilobytes finds the first line "KEY  n kB" and returns bytes.
func kilobytes(text []byte, key string) (int64, error) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		fields := bytes.Fields(lines.Bytes())
		if len(fields) > 1 && string(fields[0]) == key {
			n, err := strconv.ParseInt(string(fields[1]), 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("the kernel shows no %s", key)
}
