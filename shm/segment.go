// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package shm

// A sealed segment, as its maker and as a worker that inherited it see it.

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// Segment is sealed memory and one read-only descriptor that keeps it alive. Its methods may be called at the same
// time.
type Segment struct {
	name string
	file *os.File
	id   identity
	huge int64
}

// identity is what never changes about a sealed segment.
type identity struct {
	dev, ino uint64
	size     int64
}

// Inherit makes a Segment of a descriptor that this process was started with. It proves that the number is a memfd that
// carries all four seals, is open for reading only and is not empty: in a grandchild the same number is often another
// file.
//
// On success the Segment owns the descriptor and Close closes it; on error it is left alone. Inherit a number only
// once. The close-on-exec flag stays as it is, so that children may go on inheriting it.
func Inherit(fd int) (*Segment, error) {
	id, err := verify(fd)
	if err != nil {
		return nil, fmt.Errorf("descriptor %d is not a sealed segment: %w", fd, err)
	}
	name := segmentName(fd)
	return &Segment{name: name, file: os.NewFile(uintptr(fd), "memfd:"+name), id: id}, nil
}

// segmentName is the name that the kernel keeps: "emb" of "/memfd:emb (deleted)". Without /proc it is empty.
func segmentName(fd int) string {
	link, err := os.Readlink(procPath(fd))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(strings.TrimPrefix(link, "/memfd:"), " (deleted)")
}

// procPath opens the file behind a descriptor anew, with an offset and an access mode of its own.
func procPath(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// Name returns the name that was given to Create; of an inherited segment it is empty where /proc is missing.
func (s *Segment) Name() string { return s.name }

// Size returns the bytes of content.
func (s *Segment) Size() int64 { return s.id.size }

// Dev returns the device number as stat(2) encodes it. With Ino it tells the segment's mappings in /proc/PID/maps.
func (s *Segment) Dev() uint64 { return s.id.dev }

// Ino returns the inode number.
func (s *Segment) Ino() uint64 { return s.id.ino }

// FD returns the Segment's own descriptor: O_RDONLY, close-on-exec when Seal made it, owned by the Segment and valid
// until Close; -1 after that. Whoever reads through it shares its offset with all others: give consumers an Open of
// their own.
func (s *Segment) FD() int { return int(s.file.Fd()) }

// Allocated returns the bytes of memory that the segment holds, whole pages, swapped ones included (st_blocks × 512).
func (s *Segment) Allocated() (int64, error) {
	n, err := allocated(s.file)
	if err != nil {
		return 0, fmt.Errorf("cannot measure segment %q: %w", s.name, err)
	}
	return n, nil
}

// Huge returns the bytes that were in huge pages when the segment was sealed; 0 for an inherited one.
func (s *Segment) Huge() int64 { return s.huge }

// ReadAt reads from the content at off. At the end of it the error is io.EOF.
func (s *Segment) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.file.ReadAt(p, off)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	return n, fmt.Errorf("cannot read segment %q: %w", s.name, err)
}

// Open opens the segment anew for one consumer: read-only, close-on-exec, at offset 0, independent of every other. The
// caller owns the file, which also keeps the memory alive.
func (s *Segment) Open() (*os.File, error) {
	file, err := reopen(s.file)
	if err != nil {
		return nil, fmt.Errorf("cannot open segment %q: %w", s.name, err)
	}
	return file, nil
}

// Map maps the whole segment read-only and shared into this process. The mapping outlives Close of the Segment.
func (s *Segment) Map() (*Mapping, error) {
	data, err := mapShared(s.file, s.id.size)
	if err != nil {
		return nil, fmt.Errorf("cannot map segment %q: %w", s.name, err)
	}
	return &Mapping{data: data}, nil
}

// Close gives up the descriptor. The memory is freed when no process holds a descriptor or a mapping any more. Calling
// it again does nothing.
func (s *Segment) Close() error { return closeOnce(s.file) }

// Mapping is a segment mapped into this process. Its methods must not be called at the same time.
type Mapping struct{ data []byte }

// Bytes returns the content, valid until Close. Writing to it, and reading it after Close, is a fault that ends the
// process.
func (m *Mapping) Bytes() []byte { return m.data }

// Close unmaps the segment. Calling it again does nothing.
func (m *Mapping) Close() error {
	if m.data == nil {
		return nil
	}
	if err := unmap(m.data); err != nil {
		return fmt.Errorf("cannot unmap a segment: %w", err)
	}
	m.data = nil
	return nil
}
