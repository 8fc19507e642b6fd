// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package format

// This file reads npz: a zip of npy files, as numpy.savez and numpy.savez_compressed write it. Other zips, PyTorch's
// .pt files among them, are raw.

import (
	"archive/zip"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/klauspost/compress/flate"
)

const (
	zipMagic  = "PK\x03\x04" // of a member, with which the file begins
	npySuffix = ".npy"
	// zipEntry is what a member's header has at least, in front of its data.
	zipEntry = 30
	// mapAlign is what arrays must be aligned to, to be used as they lie: numpy aligns the data of npy files to 64.
	mapAlign = 64
)

// errNoNpz says that content is some other zip.
var errNoNpz = errors.New("no npz")

// npzMember is one npy file in the zip.
type npzMember struct {
	*zip.File
	name string // without ".npy"
	npy  Meta
	at   int64 // of the npy file, if it is stored
}

// npz describes content that begins with zipMagic, or finds that it is something else.
func (c content) npz(head []byte) (Meta, error) {
	if c.part {
		if firstIsNpy(head) {
			return Meta{Format: Npz}, nil
		}
		return Meta{Format: Raw}, nil
	}
	members, err := c.readNpz(head)
	switch {
	case errors.Is(err, errNoNpz):
		return Meta{Format: Raw}, nil
	case err != nil:
		return Meta{Format: Npz}, err
	}
	meta := Meta{Format: Npz}
	for _, m := range members {
		meta.Rewrite = meta.Rewrite || m.Method != zip.Store || (m.at+m.npy.Offset)%mapAlign != 0
	}
	for _, m := range members {
		member := Member{Name: m.name, DType: m.npy.DType, Shape: m.npy.Shape, Order: m.npy.Order, Offset: -1}
		member.Size = m.npy.Need - m.npy.Offset
		if !meta.Rewrite {
			member.Offset = m.at + m.npy.Offset
		}
		meta.Members = append(meta.Members, member)
	}
	return meta, nil
}

// readNpz returns the members of an npz in the order of its directory, or errNoNpz.
func (c content) readNpz(head []byte) ([]npzMember, error) {
	reader, err := zip.NewReader(c.r, c.size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // nothing is unpacked into files here
		if !firstIsNpy(head) {
			return nil, errNoNpz
		}
		if errors.Is(err, zip.ErrFormat) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("%w npz: its directory, which stands at the end, is missing or damaged", ErrTruncated)
		}
		return nil, err
	}
	other := func(f *zip.File) bool { return !strings.HasSuffix(f.Name, npySuffix) }
	if len(reader.File) == 0 || slices.ContainsFunc(reader.File, other) {
		return nil, errNoNpz
	}
	members := make([]npzMember, 0, len(reader.File))
	seen := make(map[string]bool, len(reader.File))
	var inflate inflater
	for _, f := range reader.File {
		m := npzMember{File: f, name: strings.TrimSuffix(f.Name, npySuffix)}
		err := m.read(c, &inflate)
		switch {
		case errors.Is(err, errNoNpz):
			return nil, err
		case errors.Is(err, ErrTruncated):
			why := strings.TrimPrefix(err.Error(), ErrTruncated.Error()+" ")
			return nil, fmt.Errorf("%w npz: member %.100q: %s", ErrTruncated, m.name, why)
		case err != nil:
			return nil, fmt.Errorf("npz member %.100q: %w", m.name, err)
		case seen[f.Name]:
			return nil, fmt.Errorf("npz holds member %.100q twice: workers would disagree about it", m.name)
		}
		seen[f.Name] = true
		members = append(members, m)
	}
	return members, apart(members)
}

// read checks the member's entry in the directory and reads the header of its npy.
func (m *npzMember) read(c content, inflate *inflater) error {
	switch {
	case m.Method != zip.Store && m.Method != zip.Deflate:
		return fmt.Errorf("is compressed by method %d, which is not known: save it again with numpy.savez", m.Method)
	case m.Flags&1 != 0:
		return errors.New("is encrypted")
	case m.NonUTF8:
		return errors.New("has a name that is not UTF-8: save it again with numpy.savez")
	case m.UncompressedSize64 > math.MaxInt64 || m.CompressedSize64 > math.MaxInt64:
		return errors.New("is larger than any memory")
	case m.Method == zip.Store && m.CompressedSize64 != m.UncompressedSize64:
		return errors.New("is stored, but has two sizes")
	}
	var err error
	if m.at, err = m.DataOffset(); err != nil {
		return fmt.Errorf("has no header: %w", err)
	}
	if m.at > c.size || int64(m.CompressedSize64) > c.size-m.at {
		return fmt.Errorf("%w zip: it lies outside the file", ErrTruncated)
	}
	size := int64(m.UncompressedSize64)
	npy := content{r: io.NewSectionReader(c.r, m.at, size), size: size}
	if m.Method == zip.Deflate {
		npy.r = &prefix{r: inflate.open(io.NewSectionReader(c.r, m.at, int64(m.CompressedSize64)))}
	}
	start, err := npy.read(0, int64(len(npyMagic)))
	if errors.Is(err, errShort) || err == nil && string(start) != npyMagic {
		return errNoNpz
	}
	if err == nil {
		m.npy, err = npy.npy()
	}
	switch {
	case errors.Is(err, errShort):
		return fmt.Errorf("%w npy: it ends within its header", ErrTruncated)
	case errors.As(err, new(flate.CorruptInputError)):
		return errors.New("is damaged")
	}
	return err
}

// apart makes sure that no member lies in another one, or in another one's header.
func apart(members []npzMember) error {
	sorted := slices.Clone(members)
	slices.SortFunc(sorted, func(a, b npzMember) int { return cmp.Compare(a.at, b.at) })
	end := int64(0)
	for _, m := range sorted {
		if m.at-zipEntry-int64(len(m.Name)) < end {
			return fmt.Errorf("damaged npz: member %.100q overlaps another one", m.name)
		}
		end = m.at + int64(m.CompressedSize64)
	}
	return nil
}

// firstIsNpy tells whether the first member of a zip is named and, if that can be seen, begins like npy.
func firstIsNpy(head []byte) bool {
	if len(head) < zipEntry {
		return false
	}
	method, name := binary.LittleEndian.Uint16(head[8:]), int(binary.LittleEndian.Uint16(head[26:]))
	at := zipEntry + name + int(binary.LittleEndian.Uint16(head[28:]))
	if zipEntry+name > len(head) || !strings.HasSuffix(string(head[zipEntry:zipEntry+name]), npySuffix) {
		return false
	}
	data := head[min(at, len(head)):]
	data = data[:min(len(data), len(npyMagic))]
	return method != zip.Store || strings.HasPrefix(npyMagic, string(data))
}

// prefix lets the beginning of a stream be read at offsets. It keeps what was read.
type prefix struct {
	r    io.Reader
	kept []byte
}

func (p *prefix) ReadAt(b []byte, off int64) (int, error) {
	if missing := off + int64(len(b)) - int64(len(p.kept)); missing > 0 {
		have := len(p.kept)
		p.kept = slices.Grow(p.kept, int(missing))
		n, err := io.ReadFull(p.r, p.kept[have:have+int(missing)])
		if p.kept = p.kept[:have+n]; err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) {
				err = io.EOF
			}
			return 0, err
		}
	}
	return copy(b, p.kept[off:]), nil
}

// inflater is one decompressor for all members: a new one takes 40 KiB each time.
type inflater struct{ r io.ReadCloser }

func (i *inflater) open(r io.Reader) io.Reader {
	if i.r == nil {
		i.r = flate.NewReader(r)
	} else if err := i.r.(flate.Resetter).Reset(r, nil); err != nil { //nolint:forcetypeassert // flate promises it
		return &failing{err}
	}
	return i.r
}

// failing is a reader that has failed.
type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }
