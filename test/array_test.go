// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// An .npy file, made without numpy, and what is known of it.

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// npyOffset is where the elements begin: behind the magic, the version, the header's length and the header.
const npyOffset = 128

// array is a matrix of 16-bit numbers of 32 columns, or, flat, a vector of bytes.
type array struct {
	flat    bool
	content []byte
}

// newArray makes an array whose file has size bytes.
func newArray(size int, flat bool) *array {
	a := &array{flat, make([]byte, size-npyOffset)}
	_, _ = rand.NewChaCha8([32]byte{2}).Read(a.content) // never fails
	return a
}

func (a *array) size() int64 { return npyOffset + int64(len(a.content)) }

// header is the Python dictionary at the head of the file.
func (a *array) header() (dtype, shape string) {
	if a.flat {
		return "|u1", fmt.Sprintf("(%d,)", len(a.content))
	}
	return "<i2", fmt.Sprintf("(%d, 32)", len(a.content)/64)
}

func (a *array) save(t *testing.T) (path string) {
	t.Helper()
	dtype, shape := a.header()
	const head = "\x93NUMPY\x01\x00"
	text := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': %s, }", dtype, shape)
	length := npyOffset - len(head) - 2
	file := binary.LittleEndian.AppendUint16([]byte(head), uint16(length))
	file = fmt.Appendf(file, "%-*s\n", length-1, text)
	path = filepath.Join(t.TempDir(), "emb.npy")
	if err := os.WriteFile(path, append(file, a.content...), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// sum adds up the elements.
func (a *array) sum() (total int64) {
	if a.flat {
		for _, b := range a.content {
			total += int64(b)
		}
		return total
	}
	for i := 0; i < len(a.content); i += 2 {
		total += int64(int16(binary.LittleEndian.Uint16(a.content[i:])))
	}
	return total
}
