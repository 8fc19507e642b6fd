// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// The size of xz content: each stream ends with an index of its blocks, which is found from the end of the file.

package codec

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
)

const (
	xzHeaderSize = 12 // magic, flags, checksum of the flags
	xzFooterSize = 12 // checksum of the next two, size of the index, flags, "YZ"
)

// maxXZIndex bounds what is read of an index: a million blocks, of 24 MiB each with xz -6.
const maxXZIndex = 16 << 20

// xzStreams walks the streams from the last to the first (The .xz File Format, 2 and 4).
func (w *walker) xzStreams() bool {
	if w.size == 0 {
		return false
	}
	for end := w.size; end > 0; {
		start, ok := w.xzStream(end)
		if !ok {
			return false
		}
		end = start
	}
	return true
}

// xzStream counts the stream that ends at end, padding behind it included, and says where it starts.
func (w *walker) xzStream(end int64) (start int64, ok bool) {
	for { // four bytes of padding are worth a look of their own: more than a few are rare
		w.pos = end - 4
		word := w.readBack(4)
		if word == nil {
			return 0, false
		}
		if binary.LittleEndian.Uint32(word) != 0 {
			break
		}
		end -= 4
	}
	w.pos = end - xzFooterSize
	footer := w.readBack(xzFooterSize)
	if footer == nil || string(footer[10:]) != "YZ" ||
		binary.LittleEndian.Uint32(footer) != crc32.ChecksumIEEE(footer[4:10]) {
		return 0, false
	}
	flags := [2]byte(footer[8:10])
	size := (int64(binary.LittleEndian.Uint32(footer[4:])) + 1) * 4
	indexAt := end - xzFooterSize - size
	if size > maxXZIndex || indexAt < xzHeaderSize {
		return 0, false
	}
	index := make([]byte, size)
	if n, _ := w.r.ReadAt(index, indexAt); n < len(index) {
		return 0, false
	}
	blocks, ok := w.xzIndex(index)
	start = indexAt - blocks - xzHeaderSize
	if !ok || start < 0 {
		return 0, false
	}
	w.pos = start
	header := w.readBack(xzHeaderSize)
	return start, header != nil && string(header[:6]) == xzMagic && [2]byte(header[6:8]) == flags
}

// readBack is read where the position may lie before the beginning.
func (w *walker) readBack(n int64) []byte {
	if w.pos < 0 {
		return nil
	}
	return w.read(n)
}

// xzIndex counts the content that the index states, and says how much the blocks take in the stream.
func (w *walker) xzIndex(index []byte) (blocks int64, ok bool) {
	body := index[:len(index)-4]
	if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(index[len(body):]) || body[0] != 0 {
		return 0, false
	}
	r := bytes.NewReader(body[1:])
	count, err := binary.ReadUvarint(r)
	if err != nil {
		return 0, false
	}
	for range count {
		unpadded, err := binary.ReadUvarint(r)
		if err != nil {
			return 0, false
		}
		content, err := binary.ReadUvarint(r)
		if err != nil || unpadded > 1<<62 || !w.add(content) {
			return 0, false
		}
		blocks += int64(unpadded+3) &^ 3
		if blocks > w.size {
			return 0, false
		}
	}
	rest, err := io.ReadAll(r)
	return blocks, err == nil && len(rest) < 4 && len(bytes.Trim(rest, "\x00")) == 0
}
