// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package format

// This file reads the head of an npy file: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
//
//	\x93NUMPY  major minor  length (2 bytes little endian; 4 from version 2.0)  header: a Python dict, padded with spaces

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	humanize "github.com/dustin/go-humanize"
)

const (
	npyMagic = "\x93NUMPY"
	// maxNpyHeader is the most that version 1.0 can say. A longer one (2.0 exists for records with thousands of fields)
	// would not fit the manifest either: Linux limits one environment string to 128 KiB.
	maxNpyHeader = math.MaxUint16
	// maxDims is numpy's own limit since 2.0.
	maxDims = 64
)

// npy describes content that begins with npyMagic.
func (c content) npy() (Meta, error) {
	meta, err := c.npyHeader()
	if err != nil || c.part || c.size >= meta.Need {
		return meta, err
	}
	// More is accepted, as numpy accepts it: arrays saved one after the other into one file are read by their offset.
	return meta, fmt.Errorf("%w npy: its header says %s bytes in all (shape %s of %.200s), but it has %s", ErrTruncated,
		humanize.Comma(meta.Need), ShapeText(meta.Shape), meta.DType, humanize.Comma(c.size))
}

// npyHeader reads no further than the header.
func (c content) npyHeader() (Meta, error) {
	guess := Meta{Format: Npy}
	start, err := c.read(0, 8)
	if err != nil {
		return guess, err
	}
	lengthBytes := int64(2)
	switch major, minor := start[6], start[7]; {
	case major == 1 && minor == 0:
	case (major == 2 || major == 3) && minor == 0:
		lengthBytes = 4
	default:
		return guess, fmt.Errorf("npy version %d.%d is not known: save it again with numpy.save", major, minor)
	}
	var field [4]byte
	b, err := c.read(8, lengthBytes)
	if err != nil {
		return guess, err
	}
	copy(field[:], b)
	length := int64(binary.LittleEndian.Uint32(field[:]))
	if length > maxNpyHeader {
		return guess, fmt.Errorf("npy header of %s bytes is too long (at most %s): the file is damaged, or its records "+
			"have too many fields", humanize.Comma(length), humanize.Comma(maxNpyHeader))
	}
	text, err := c.read(8+lengthBytes, length)
	if err != nil {
		return guess, err
	}
	if start[6] < 3 { // numpy writes Latin-1 before version 3.0
		text = latin1(text)
	} else if !utf8.Valid(text) {
		return guess, errors.New("damaged npy header: it is not UTF-8")
	}
	return parseNpy(string(text), 8+lengthBytes+length)
}

// latin1 turns Latin-1 into UTF-8.
func latin1(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for _, b := range text {
		out = utf8.AppendRune(out, rune(b))
	}
	return out
}

// parseNpy reads the header's dict, which must have exactly the three keys that numpy demands. The array begins at
// offset.
func parseNpy(text string, offset int64) (Meta, error) {
	meta := Meta{Format: Npy}
	fields, err := parseDict(text)
	if err != nil {
		return meta, fmt.Errorf("damaged npy header: %w", err)
	}
	descr, hasDescr := fields["descr"]
	fortran, isBool := fields["fortran_order"].value.(bool)
	shape, isTuple := fields["shape"].value.(tuple)
	if !hasDescr || !isBool || !isTuple || len(fields) != 3 {
		return meta, errors.New("damaged npy header: it must hold descr, fortran_order and shape, and nothing else")
	}
	itemSize, err := descrSize(descr.value)
	if err != nil {
		return meta, err
	}
	dims, count, err := shapeOf(shape)
	if err != nil {
		return meta, fmt.Errorf("damaged npy header: %w", err)
	}
	meta.DType, meta.Shape, meta.Order, meta.Offset = descr.text, dims, "C", offset
	if s, ok := descr.value.(string); ok {
		meta.DType = s
	}
	if fortran {
		meta.Order = "F"
	}
	data, ok := mul(itemSize, count)
	if !ok || data > math.MaxInt64-offset {
		return meta, fmt.Errorf("damaged npy header: shape %v of %s is larger than any memory", dims, meta.DType)
	}
	meta.Need = offset + data
	return meta, nil
}

// ShapeText is a shape as numpy prints it: "(3, 4)", "(5,)".
func ShapeText(shape []int64) string {
	text := strings.Trim(strings.ReplaceAll(fmt.Sprint(shape), " ", ", "), "[]")
	if len(shape) == 1 {
		text += ","
	}
	return "(" + text + ")"
}
