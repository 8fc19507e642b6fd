// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package format

// This file holds what the package tells, and the choice between the formats.

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	humanize "github.com/dustin/go-humanize"
)

// The formats that are told apart by content.
const (
	Raw         = "raw"
	Npy         = "npy"
	Npz         = "npz"
	Safetensors = "safetensors"
	Arrow       = "arrow"        // IPC file, Feather version 2
	ArrowStream = "arrow-stream" // IPC stream
	Pk5         = "pk5"          // pickle of protocol 5 with its buffers beside it, see pk5.go
)

// PeekSize is how many bytes of a stream's beginning are worth giving to [Peek].
const PeekSize = 64 << 10

// ErrTruncated is in every error about content that has fewer bytes than it says itself.
var ErrTruncated = errors.New("truncated")

// Meta is what the content says about itself. All but Format and Hint are empty for [Raw].
type Meta struct {
	Format string

	DType  string  // npy: as in the file: "<f4", or the text of a list for structured dtypes
	Shape  []int64 // npy: not nil, empty for a scalar
	Order  string  // npy: "C" or "F"
	Offset int64   // npy: of the array's first byte

	Members []Member // npz, safetensors: the arrays in the order of the file
	Schema  []Field  // arrow, arrow-stream: the columns

	Need    int64  // bytes that the content says it has at least; 0: it says nothing
	Rewrite bool   // npz whose arrays cannot be mapped as they lie: see RewriteNpz
	Hint    string // one sentence for the log: why workers will not share this, and what to do; "" if there is none
}

// Member is one array of several.
type Member struct {
	Name   string // npz: without ".npy"
	DType  string // npz: numpy's, as in Meta; safetensors: its own, "F32"
	Shape  []int64
	Order  string // "C" or "F"
	Offset int64  // in the content, of the array's first byte; -1 while Meta.Rewrite
	Size   int64  // bytes of the array's data
}

// Field is one column of a table.
type Field struct {
	Name     string
	Type     string // readable: "int64", "timestamp[us, UTC]", "list<utf8>"
	Nullable bool
}

// Peek recognises content by its beginning, [PeekSize] bytes or all there are. What needs more than that is guessed or
// Raw, with no error: Inspect decides in the end. An error is about what can be refused without having the rest, never
// [ErrTruncated].
func Peek(head []byte) (Meta, error) {
	meta, err := inspect(content{bytes.NewReader(head), int64(len(head)), true})
	if errors.Is(err, errShort) {
		return Meta{Format: meta.Format}, nil
	}
	return meta, err
}

// Inspect recognises and checks the whole content. It refuses what is truncated ([ErrTruncated]), inconsistent or
// cannot be shared.
func Inspect(r io.ReaderAt, size int64) (Meta, error) {
	meta, err := inspect(content{r, size, false})
	if errors.Is(err, errShort) {
		err = fmt.Errorf("%w %s: it ends within its header, after %s bytes", ErrTruncated, meta.Format,
			humanize.Comma(size))
	}
	if err != nil {
		return Meta{}, err
	}
	return meta, nil
}

// inspect returns the format with errShort.
func inspect(c content) (Meta, error) {
	head, err := c.read(0, min(c.size, PeekSize))
	if err != nil {
		return Meta{Format: Raw}, err
	}
	if err := refuse(head); err != nil {
		return Meta{Format: Raw}, err
	}
	meta, err := Meta{Format: Raw}, error(nil)
	switch start := string(head[:min(len(head), 16)]); {
	case strings.HasPrefix(start, npyMagic):
		meta, err = c.npy()
	case strings.HasPrefix(start, zipMagic):
		meta, err = c.npz(head)
	case strings.HasPrefix(start, arrowMagic):
		meta, err = c.arrowFile()
	case strings.HasPrefix(start, arrowContinuation):
		meta, err = c.arrowStream(head)
	case strings.HasPrefix(start, pk5Magic):
		meta, err = c.pk5()
	case looksLikeSafetensors(head):
		meta, err = c.safetensors(head)
	}
	if err == nil && meta.Format == Raw {
		meta.Hint, err = c.hint(head)
	}
	return meta, err
}

// content is what is looked at. If part is true, r holds only the first size bytes of it.
type content struct {
	r    io.ReaderAt
	size int64
	part bool
}

// errShort is why a read beyond the end failed. It says nothing about what should have been there.
var errShort = errors.New("ends too early")

// read returns n bytes at off. The caller bounds n; it is never larger than the content.
func (c content) read(off, n int64) ([]byte, error) {
	if off < 0 || n < 0 || off > c.size || n > c.size-off {
		return nil, errShort
	}
	b := make([]byte, n)
	got, err := c.r.ReadAt(b, off)
	if got == len(b) {
		return b, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = errShort
	}
	return nil, err
}
