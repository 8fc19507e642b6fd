// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

// This file reads the head of an npy file: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
//
//	\x93NUMPY  major minor  length (2 bytes little endian; 4 from version 2.0)  header: a Python dict, padded with spaces

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"

	humanize "github.com/dustin/go-humanize"
)

// The formats that are told apart by content.
const (
	FormatRaw = "raw"
	FormatNpy = "npy"
)

const (
	npyMagic = "\x93NUMPY"
	// maxNpyHeader is the most that version 1.0 can say. A longer one (2.0 exists for records with thousands of fields)
	// would not fit the manifest either: Linux limits one environment string to 128 KiB.
	maxNpyHeader = math.MaxUint16
	// maxNpyDims is numpy's own limit since 2.0.
	maxNpyDims = 64
)

var errTruncated = errors.New("truncated npy")

// Meta is what the content says about itself. All but Format are empty for FormatRaw.
type Meta struct {
	Format string
	DType  string  // as in the file: "<f4", or the text of a list for structured dtypes
	Shape  []int64 // not nil for npy, empty for a scalar
	Order  string  // "C" or "F"
	Offset int64   // of the array's first byte
}

// head is the beginning of a source: the bytes that were read to recognise it, and what they say.
type head struct {
	Meta
	bytes []byte
	size  int64 // bytes that the content says it has in all; 0 when it says nothing
}

// refuse recognises what no worker could open: these libraries resolve the path of a segment to its name, "/memfd:…
// (deleted)", and fail, or make a new file of that name.
func (h *head) refuse(r io.Reader) error {
	for magic, what := range map[string]string{"SQLite format 3\x00": "a SQLite database", "\x89HDF\r\n\x1a\n": "an HDF5 file"} {
		if !strings.HasPrefix(magic, string(h.bytes[:min(len(h.bytes), len(npyMagic))])) || len(h.bytes) < len(npyMagic) {
			continue
		}
		if _, err := h.fill(r, len(magic)-len(h.bytes)); err != nil {
			return err
		}
		if string(h.bytes) == magic {
			return fmt.Errorf("%s opens its file by its real path and cannot be handed over as a segment: give workers the file itself", what)
		}
	}
	return nil
}

// sniff reads as much of r as it takes to tell the format: a few bytes of raw content, the whole header of an npy.
func sniff(r io.Reader) (head, error) {
	h := head{Meta: Meta{Format: FormatRaw}}
	if ok, err := h.fill(r, len(npyMagic)); !ok || string(h.bytes) != npyMagic {
		if err == nil {
			err = h.refuse(r)
		}
		return h, err
	}
	ok, err := h.fill(r, 2)
	lengthBytes := 2
	if ok {
		switch major, minor := h.bytes[6], h.bytes[7]; {
		case major == 1 && minor == 0:
		case (major == 2 || major == 3) && minor == 0:
			lengthBytes = 4
		default:
			return h, fmt.Errorf("npy version %d.%d is not known: save it again with numpy.save", major, minor)
		}
		ok, err = h.fill(r, lengthBytes)
	}
	length := uint32(0)
	if ok {
		var field [4]byte
		copy(field[:], h.bytes[8:])
		if length = binary.LittleEndian.Uint32(field[:]); length > maxNpyHeader {
			return h, fmt.Errorf("npy header of %s bytes is too long (at most %s): the file is damaged, or its records "+
				"have too many fields", humanize.Comma(int64(length)), humanize.Comma(maxNpyHeader))
		}
		ok, err = h.fill(r, int(length))
	}
	switch {
	case err != nil:
		return h, err
	case !ok:
		return h, fmt.Errorf("%w: it ends within its header, after %d bytes", errTruncated, len(h.bytes))
	}
	text := h.bytes[8+lengthBytes:]
	if h.bytes[6] < 3 { // numpy writes Latin-1 before version 3.0
		text = latin1(text)
	}
	return h, h.parse(string(text))
}

// latin1 turns Latin-1 into UTF-8.
func latin1(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for _, b := range text {
		out = utf8.AppendRune(out, rune(b))
	}
	return out
}

// fill appends n bytes of r; ok is false when r ended before.
func (h *head) fill(r io.Reader, n int) (ok bool, err error) {
	have := len(h.bytes)
	h.bytes = append(h.bytes, make([]byte, n)...)
	got, err := io.ReadFull(r, h.bytes[have:])
	h.bytes = h.bytes[:have+got]
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return false, nil
	}
	return err == nil, err
}

// parse reads the header's dict, which must have exactly the three keys that numpy demands.
func (h *head) parse(text string) error {
	fields, err := parseDict(text)
	if err != nil {
		return fmt.Errorf("damaged npy header: %w", err)
	}
	descr, hasDescr := fields["descr"]
	fortran, isBool := fields["fortran_order"].value.(bool)
	shape, isTuple := fields["shape"].value.(tuple)
	if !hasDescr || !isBool || !isTuple || len(fields) != 3 {
		return errors.New("damaged npy header: it must hold descr, fortran_order and shape, and nothing else")
	}
	itemSize, err := descrSize(descr.value)
	if err != nil {
		return err
	}
	dims, count, err := shapeOf(shape)
	if err != nil {
		return fmt.Errorf("damaged npy header: %w", err)
	}
	h.Meta = Meta{Format: FormatNpy, DType: descr.text, Shape: dims, Order: "C", Offset: int64(len(h.bytes))}
	if s, ok := descr.value.(string); ok {
		h.DType = s
	}
	if fortran {
		h.Order = "F"
	}
	data, ok := mul(itemSize, count)
	if !ok || data > math.MaxInt64-h.Offset {
		return fmt.Errorf("damaged npy header: shape %v of %s is larger than any memory", dims, h.DType)
	}
	h.size = h.Offset + data
	return nil
}

// checkSize refuses content of size bytes that has less than its header says. More is accepted, as numpy accepts it:
// arrays saved one after the other into one file are read by their offset.
func (h *head) checkSize(size int64) error {
	if size >= h.size {
		return nil
	}
	return fmt.Errorf("%w: its header says %s bytes in all (shape %s of %s), but it has %s", errTruncated,
		humanize.Comma(h.size), shapeText(h.Shape), h.DType, humanize.Comma(size))
}

// shapeText is the shape as numpy prints it.
func shapeText(shape []int64) string {
	text := strings.Trim(strings.ReplaceAll(fmt.Sprint(shape), " ", ", "), "[]")
	if len(shape) == 1 {
		text += ","
	}
	return "(" + text + ")"
}
