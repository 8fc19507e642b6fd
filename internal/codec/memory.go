// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// What unpacking takes beside the content, and what a header says of that: whoever keeps within a limit must know before
// the decoder takes it.

package codec

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"runtime"

	"github.com/ulikunitz/xz/lzma"
)

// MemoryHead is how many bytes of the beginning Memory and AtLeast look at.
const MemoryHead = 64

const (
	// smallMemory is what each decoder may hold beside windows and blocks: reading ahead, tables, blocks of zstd.
	smallMemory = 10 << 20
	// lz4Blocks is how many blocks are in memory, packed and unpacked, when inFlight of them are decoded at a time.
	lz4Blocks = 2 * (inFlight + 1)
	// xzDictionaries: each block has a dictionary of its own, and the one before is garbage for a while.
	xzDictionaries = 2
)

// Memory says how many bytes a decoder may hold beside the content, by the header of the first frame or block: the window of
// zstd, the dictionary of xz, the blocks of lz4. What the head does not say is taken for little.
func Memory(kind Kind, head []byte) int64 {
	switch kind {
	case Zstd:
		if f, ok := zstdHeader(head); ok {
			return more(f.window, smallMemory)
		}
	case XZ:
		return more(xzDictionary(head)*xzDictionaries, smallMemory)
	case LZ4:
		return lz4Block(head)*lz4Blocks + smallMemory
	case None:
		return 0
	case Gzip:
	}
	return smallMemory
}

// usualWindow is the largest that zstd packs with when it is not told to (levels up to 19).
const usualWindow = 8 << 20

// NewReaderWithin is NewReader for a decoder that holds no more memory than Memory said, or than zstd usually takes: zstd frames
// behind the first with a larger window are an error. A later block of xz may ask for more than the first; the library
// cannot be told.
func NewReaderWithin(kind Kind, r io.Reader, memory int64) (io.ReadCloser, error) {
	opened, err := NewReader(kind, r)
	if d, ok := opened.(*reader); ok && kind == Zstd {
		window := min(max(memory-smallMemory, usualWindow), maxWindow)
		d.open = func(src *source) (io.Reader, func(), error) {
			return zstdReader(src, runtime.GOMAXPROCS(0) >= manyCPUs, uint64(window))
		}
	}
	return opened, err
}

// AtLeast says how many bytes packed content has at least, by the header of its first frame; 0 if that does not say it.
func AtLeast(kind Kind, head []byte) int64 {
	if f, ok := zstdHeader(head); ok && kind == Zstd {
		return f.content
	}
	return 0
}

// more is a sum that does not overflow: a header may say anything.
func more(a, b int64) int64 { return a + min(b, math.MaxInt64-a) }

// zstdFacts are of a frame's header.
type zstdFacts struct {
	window  int64
	content int64 // 0: not stated
}

// zstdHeader reads the header of the first frame that is not skippable (RFC 8878, 3.1.1.1). A frame in a single segment
// has no window but its whole content.
func zstdHeader(head []byte) (f zstdFacts, ok bool) {
	for skippable(head) && len(head) >= 8 {
		head = head[min(int64(len(head)), 8+int64(binary.LittleEndian.Uint32(head[4:]))):]
	}
	head, ok = bytes.CutPrefix(head, []byte(zstdMagic))
	if !ok || len(head) < 2 {
		return f, false
	}
	flags := head[0]
	single := flags&(1<<5) != 0
	head = head[1:]
	if !single {
		base := int64(1) << (10 + head[0]>>3)
		f.window = base + base/8*int64(head[0]&7)
		head = head[1:]
	}
	width := [4]int{0, 2, 4, 8}[flags>>6]
	if width == 0 && single {
		width = 1
	}
	id := [4]int{0, 1, 2, 4}[flags&3]
	if len(head) < id+width {
		return f, !single
	}
	size := number(head[id:][:width])
	if width == 2 {
		size += 256
	}
	f.content = int64(min(size, math.MaxInt64))
	if single {
		f.window = f.content
	}
	return f, true
}

// xzDictionary reads the header of the first block (The .xz File Format, 3.1), which has the one filter that is unpacked.
// 0: there is no such block.
func xzDictionary(head []byte) int64 {
	r := bytes.NewReader(head[min(len(head), xzHeaderSize):])
	_, _ = r.ReadByte() // its size
	flags, err := r.ReadByte()
	for _, present := range []byte{1 << 6, 1 << 7} {
		if err == nil && flags&present != 0 {
			_, err = binary.ReadUvarint(r)
		}
	}
	var filter [3]byte // its id, the size of what follows, the dictionary
	if err != nil || flags&3 != 0 {
		return 0
	}
	if n, _ := r.Read(filter[:]); n < len(filter) {
		return 0
	}
	size, err := lzma.DecodeDictCap(filter[2])
	if err != nil || filter[0] != 0x21 || filter[1] != 1 {
		return 0
	}
	return size
}

// lz4Block is the size of the blocks (lz4_Frame_format.md, block maximum size).
func lz4Block(head []byte) int64 {
	switch {
	case bytes.HasPrefix(head, []byte(lz4LegacyMagic)):
		return 8 << 20
	case bytes.HasPrefix(head, []byte(lz4Magic)) && len(head) > 5:
		return 1 << (8 + 2*(head[5]>>4&7))
	}
	return 4 << 20
}
