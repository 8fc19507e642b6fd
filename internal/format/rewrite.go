// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package format

// This file makes an npz whose arrays can be mapped: the same members, stored, each array at the beginning of a page.

import (
	"archive/zip"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"github.com/klauspost/compress/flate"
)

// pageAlign is where arrays begin: pages of 4 KiB are the smallest that Linux maps.
const pageAlign = 4096

// zip64Size is the first size or offset that needs zip64.
const zip64Size = math.MaxUint32

// RewrittenSize is the exact number of bytes that [RewriteNpz] writes for this npz.
func RewrittenSize(r io.ReaderAt, size int64) (int64, error) {
	p, err := planNpz(r, size, zip64Size)
	if err != nil {
		return 0, err
	}
	return p.size, nil
}

// RewriteNpz writes the npz in r as one whose members are stored and whose arrays begin on page boundaries. It stays an
// npz for every reader. Checksums are verified; if one is wrong, or r or w fails, part of the result may have been
// written.
func RewriteNpz(w io.Writer, r io.ReaderAt, size int64) error {
	p, err := planNpz(r, size, zip64Size)
	if err != nil {
		return err
	}
	return p.write(w)
}

// plan is the new npz.
type plan struct {
	members   []placed
	directory int64 // where it begins
	closing   int64 // where it ends
	size      int64
	big       int64 // the first size or offset that needs zip64; tests have a small one
}

// placed is a member with its header's place in the new npz.
type placed struct {
	npzMember
	header  int64
	padding int // bytes of its extra field, in which the data is moved to the boundary
}

func planNpz(r io.ReaderAt, size, big int64) (plan, error) {
	c := content{r: r, size: size}
	head, err := c.read(0, min(size, PeekSize))
	if err != nil {
		return plan{}, err
	}
	members, err := c.readNpz(head)
	if errors.Is(err, errNoNpz) {
		return plan{}, errors.New("is no npz")
	}
	if err != nil {
		return plan{}, err
	}
	p := plan{big: big}
	for _, m := range members {
		p.members = append(p.members, placed{npzMember: m})
	}
	return p, p.place()
}

// place gives every member and the directory their places.
func (p *plan) place() error {
	at := int64(0)
	for i := range p.members {
		m := &p.members[i]
		m.header, m.padding = at, 0
		data := at + int64(len(p.localHeader(*m)))
		m.padding = int(-(data + m.npy.Offset) & (pageAlign - 1))
		data += int64(m.padding)
		if int64(m.UncompressedSize64) > math.MaxInt64/2-data {
			return errors.New("is larger than any memory")
		}
		at = data + int64(m.UncompressedSize64)
	}
	p.directory = at
	for _, m := range p.members {
		at += int64(len(p.directoryHeader(m)))
	}
	p.closing = at
	p.size = at + int64(len(p.end()))
	return nil
}

// write writes all of it.
func (p plan) write(w io.Writer) error {
	var inflate inflater
	for _, m := range p.members {
		if _, err := w.Write(p.localHeader(m)); err != nil {
			return err
		}
		if err := m.copy(w, &inflate); err != nil {
			return err
		}
	}
	for _, m := range p.members {
		if _, err := w.Write(p.directoryHeader(m)); err != nil {
			return err
		}
	}
	_, err := w.Write(p.end())
	return err
}

// copy writes the member's npy and compares it with the checksum and the size that the directory says.
func (m placed) copy(w io.Writer, inflate *inflater) error {
	packed, err := m.OpenRaw()
	if err != nil {
		return fmt.Errorf("npz member %.100q: %w", m.name, err)
	}
	npy := packed
	if m.Method == zip.Deflate {
		npy = inflate.open(packed)
	}
	size := int64(m.UncompressedSize64)
	sum := &summed{r: io.LimitReader(npy, size)}
	n, err := io.Copy(w, sum)
	if err == nil && n == size {
		// One byte more would be more than the directory says; reading on also finds damage behind the last byte.
		var more [1]byte
		switch extra, end := io.ReadFull(npy, more[:]); {
		case extra > 0:
			sum.err = errors.New("is longer than its directory says")
		case !errors.Is(end, io.EOF):
			sum.err = end
		}
	}
	switch {
	case errors.Is(sum.err, io.ErrUnexpectedEOF), sum.err == nil && err == nil && n < size:
		return fmt.Errorf("%w npz: member %.100q ends after %d of %d bytes", ErrTruncated, m.name, n, size)
	case errors.As(sum.err, new(flate.CorruptInputError)):
		return fmt.Errorf("npz member %.100q is damaged", m.name)
	case sum.err != nil:
		return fmt.Errorf("npz member %.100q: %w", m.name, sum.err)
	case err != nil:
		return err
	case sum.crc != m.CRC32:
		return fmt.Errorf("npz member %.100q is damaged: its checksum is %08x, its directory says %08x", m.name, sum.crc,
			m.CRC32)
	}
	return nil
}

// summed computes the checksum of what is read, and keeps the reader's own error apart from the writer's.
type summed struct {
	r   io.Reader
	crc uint32
	err error
}

func (s *summed) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.crc = crc32.Update(s.crc, crc32.IEEETable, p[:n])
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}
