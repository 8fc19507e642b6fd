// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// DecodedSize: what containers state about the size of their content.

package codec

import (
	"encoding/binary"
	"io"
	"math"
)

// maxParts bounds the work of DecodedSize: so many headers are looked at. 2²⁰ blocks of zstd are 128 GiB of content.
const maxParts = 1 << 20

// DecodedSize says how many bytes r, which has size bytes, unpacks to, if the container states that for each of its
// parts: zstd frames and lz4 frames with a content size (zstd writes it unless it packed a pipe, lz4 if it is told to),
// all xz. It reads the headers of the blocks, or the index of xz, and nothing else. gzip states its size modulo 4 GiB and
// for the last member only: never ok. None: it is size.
func DecodedSize(kind Kind, r io.ReaderAt, size int64) (decoded int64, ok bool) {
	w := walker{r: r, size: size, parts: maxParts}
	switch kind {
	case None:
		return size, size >= 0
	case Zstd:
		ok = w.frames(zstdFrame)
	case LZ4:
		ok = w.frames(lz4Frame)
	case XZ:
		ok = w.xzStreams()
	case Gzip:
	}
	if !ok {
		return 0, false
	}
	return w.decoded, true
}

// walker goes through a container from header to header.
type walker struct {
	r       io.ReaderAt
	size    int64
	pos     int64
	parts   int // headers that may still be read
	decoded int64
	buf     [16]byte
}

// read reads the next n bytes, 16 at most; nil: there are none, or it is enough.
func (w *walker) read(n int64) []byte {
	if w.parts--; w.parts < 0 || w.size-w.pos < n {
		return nil
	}
	b := w.buf[:n]
	if k, _ := w.r.ReadAt(b, w.pos); int64(k) < n {
		return nil
	}
	w.pos += n
	return b
}

// skip goes n bytes on; false: behind the end.
func (w *walker) skip(n int64) bool {
	if n > w.size-w.pos {
		return false
	}
	w.pos += n
	return true
}

// add counts content.
func (w *walker) add(n uint64) bool {
	if n > uint64(math.MaxInt64-w.decoded) {
		return false
	}
	w.decoded += int64(n)
	return true
}

// frames walks zstd or lz4 frames, of which frame reads one behind its magic. There may be skippable ones between.
func (w *walker) frames(frame func(w *walker, magic string) bool) bool {
	if w.size == 0 {
		return false
	}
	for w.pos < w.size {
		magic := w.read(4)
		if magic == nil {
			return false
		}
		if !skippable(magic) {
			if !frame(w, string(magic)) {
				return false
			}
			continue
		}
		n := w.read(4)
		if n == nil || !w.skip(int64(binary.LittleEndian.Uint32(n))) {
			return false
		}
	}
	return true
}

// zstdFrame reads a frame's header and those of its blocks (RFC 8878, 3.1.1).
func zstdFrame(w *walker, magic string) bool {
	head := w.read(1)
	if magic != zstdMagic || head == nil {
		return false
	}
	flags := head[0]
	single, checksum := flags&(1<<5) != 0, flags&(1<<2) != 0
	skip := int64([4]uint8{0, 1, 2, 4}[flags&3]) // the dictionary's id
	if !single {
		skip++ // the window
	}
	width := int64([4]uint8{0, 2, 4, 8}[flags>>6])
	if width == 0 && single {
		width = 1
	}
	if width == 0 || !w.skip(skip) {
		return false
	}
	field := w.read(width)
	if field == nil {
		return false
	}
	n := number(field)
	if width == 2 {
		n += 256
	}
	for {
		block := w.read(3)
		if block == nil {
			return false
		}
		v := number(block)
		length := int64(v >> 3)
		if v>>1&3 == 1 { // one byte, repeated
			length = 1
		}
		if !w.skip(length) {
			return false
		}
		if v&1 != 0 {
			break
		}
	}
	if checksum && !w.skip(4) {
		return false
	}
	return w.add(n)
}

// lz4Frame reads a frame's header and those of its blocks (lz4_Frame_format.md). Legacy frames state no size.
func lz4Frame(w *walker, magic string) bool {
	head := w.read(2)
	if magic != lz4Magic || head == nil {
		return false
	}
	flags := head[0]
	if flags&(1<<3) == 0 {
		return false
	}
	field := w.read(8)
	if field == nil {
		return false
	}
	n := number(field)
	skip := int64(1) // the header's checksum
	if flags&1 != 0 {
		skip += 4 // the dictionary's id
	}
	if !w.skip(skip) {
		return false
	}
	blockSum := int64(flags >> 4 & 1 * 4)
	for {
		block := w.read(4)
		if block == nil {
			return false
		}
		length := int64(binary.LittleEndian.Uint32(block))
		if length == 0 {
			break
		}
		if !w.skip(length&^(1<<31) + blockSum) {
			return false
		}
	}
	if flags&(1<<2) != 0 && !w.skip(4) {
		return false
	}
	return w.add(n)
}

// number is a little-endian number of any width.
func number(b []byte) uint64 {
	var v uint64
	for i, c := range b {
		v |= uint64(c) << (8 * i)
	}
	return v
}
