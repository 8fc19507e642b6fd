// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package format

// This file knows the sizes of numpy's dtypes as npy headers spell them.

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// errObject says what to do about an array of Python objects.
var errObject = errors.New("npy of Python objects (dtype O): preforkd never unpickles, and objects cannot be shared; " +
	"save it as a numeric or fixed-width array, for example numpy.save(file, a.astype('float32')) or a.astype('S')")

// descrSize is the size in bytes of one element: of a string ("<f4"), of a subarray (descr, shape), or of a record,
// which is a list of fields (name, descr) or (name, descr, shape).
func descrSize(descr any) (int64, error) {
	switch d := descr.(type) {
	case string:
		return scalarSize(d)
	case tuple:
		if len(d) == 2 {
			return subarraySize(d[0], d[1])
		}
	case []any:
		total := int64(0)
		for _, field := range d {
			size, err := fieldSize(field)
			if err != nil {
				return 0, err
			}
			if total > math.MaxInt64-size {
				return 0, errors.New("damaged npy header: a record is larger than any memory")
			}
			total += size
		}
		return total, nil
	}
	return 0, errors.New("damaged npy header: descr is not a dtype")
}

// fieldSize is the size of one field of a record.
func fieldSize(field any) (int64, error) {
	f, _ := field.(tuple)
	if len(f) != 2 && len(f) != 3 {
		return 0, errors.New("damaged npy header: a field must be (name, dtype) or (name, dtype, shape)")
	}
	switch name := f[0].(type) {
	case string:
	case tuple: // (title, name)
		if len(name) != 2 {
			return 0, errors.New("damaged npy header: a field has no name")
		}
	default:
		return 0, errors.New("damaged npy header: a field has no name")
	}
	if len(f) == 2 {
		return descrSize(f[1])
	}
	return subarraySize(f[1], f[2])
}

// subarraySize is the size of a fixed array of descr; its shape may be a bare number.
func subarraySize(descr, shape any) (int64, error) {
	if n, ok := shape.(int64); ok {
		shape = tuple{n}
	}
	dims, ok := shape.(tuple)
	if !ok {
		return 0, errors.New("damaged npy header: the shape of a subarray is not a tuple")
	}
	size, err := descrSize(descr)
	if err != nil {
		return 0, err
	}
	_, count, err := shapeOf(dims)
	if err != nil {
		return 0, fmt.Errorf("damaged npy header: %w", err)
	}
	if size, ok = mul(size, count); !ok {
		return 0, errors.New("damaged npy header: a subarray is larger than any memory")
	}
	return size, nil
}

// scalarSize is the size of a dtype string: byte order, kind, count, and for times a unit ("<M8[ns]").
func scalarSize(descr string) (int64, error) {
	s := strings.TrimLeft(descr, "<>|=")
	if len(descr)-len(s) > 1 || s == "" {
		return 0, unknownDType(descr)
	}
	kind, digits := s[0], s[1:]
	if kind == 'O' {
		return 0, errObject
	}
	if kind == 'm' || kind == 'M' {
		digits, _, _ = strings.Cut(digits, "[")
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || digits[0] < '0' || digits[0] > '9' { // ParseInt takes a sign
		return 0, unknownDType(descr)
	}
	sizes := map[byte][]int64{
		'b': {1}, 'i': {1, 2, 4, 8}, 'u': {1, 2, 4, 8}, 'f': {2, 4, 8, 12, 16}, 'c': {8, 16, 24, 32}, 'm': {8}, 'M': {8},
	}
	switch {
	case kind == 'S' || kind == 'a' || kind == 'V':
		return n, nil
	case kind == 'U' && n <= math.MaxInt64/4: // UCS-4
		return 4 * n, nil
	case slices.Contains(sizes[kind], n):
		return n, nil
	}
	return 0, unknownDType(descr)
}

func unknownDType(descr string) error {
	return fmt.Errorf("npy dtype %.100q is not known: save it again with numpy.save", descr)
}

// shapeOf returns the dimensions and the number of elements.
func shapeOf(shape tuple) (dims []int64, count int64, err error) {
	if len(shape) > maxDims {
		return nil, 0, fmt.Errorf("shape has %d dimensions", len(shape))
	}
	dims, count = make([]int64, len(shape)), 1
	for i, v := range shape {
		n, ok := v.(int64)
		if !ok || n < 0 {
			return nil, 0, errors.New("shape is not a tuple of sizes")
		}
		dims[i] = n
		if n == 0 {
			continue // an empty array; the other sizes must still be sane
		}
		if count, ok = mul(count, n); !ok {
			return nil, 0, errors.New("shape is larger than any memory")
		}
	}
	if slices.Contains(dims, 0) {
		count = 0
	}
	return dims, count, nil
}

// mul multiplies two numbers that are not negative; ok is false on overflow.
func mul(a, b int64) (product int64, ok bool) {
	if b != 0 && a > math.MaxInt64/b {
		return 0, false
	}
	return a * b, true
}
