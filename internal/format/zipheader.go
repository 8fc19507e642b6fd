// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package format

// This file writes the headers of a zip: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
//
// archive/zip's writer would do, but for two things: it repeats the padding in the directory, and it writes no zip64
// sizes in front of members whose sizes are known.

import (
	"encoding/binary"
	"math"
)

const (
	localMagic     = 0x04034b50
	directoryMagic = 0x02014b50
	end64Magic     = 0x06064b50
	locatorMagic   = 0x07064b50
	endMagic       = 0x06054b50

	zip64Extra = 0x0001
	// alignExtra is the extra field of Android's zipalign: the alignment (2 bytes), then zeros.
	alignExtra = 0xD935
	// minAlignExtra is an alignExtra without zeros.
	minAlignExtra = 6

	unixMade   = 3 << 8 // made by: the file mode is Unix's
	utf8Flag   = 0x800
	version20  = 20
	version45  = 45 // zip64
	regular644 = 0o100644 << 16
)

// version is what a reader must understand.
func (p plan) version(values ...int64) uint16 {
	for _, v := range values {
		if v >= p.big {
			return version45
		}
	}
	return version20
}

// short is a size or an offset where there are four bytes for it.
func (p plan) short(v int64) uint32 {
	if v >= p.big {
		return math.MaxUint32
	}
	return uint32(v)
}

// common is what both headers of a member begin with, from the version to the length of the name.
func (p plan) common(b []byte, m placed, version uint16) []byte {
	size := int64(m.UncompressedSize64)
	le := binary.LittleEndian
	b = le.AppendUint16(b, version)
	b = le.AppendUint16(b, m.Flags&utf8Flag)
	b = le.AppendUint16(b, 0) // stored
	b = le.AppendUint16(b, m.ModifiedTime)
	b = le.AppendUint16(b, m.ModifiedDate)
	b = le.AppendUint32(b, m.CRC32)
	b = le.AppendUint32(b, p.short(size))
	b = le.AppendUint32(b, p.short(size))
	return le.AppendUint16(b, uint16(len(m.Name)))
}

// localHeader stands in front of a member's data.
func (p plan) localHeader(m placed) []byte {
	size := int64(m.UncompressedSize64)
	le := binary.LittleEndian
	var extra []byte
	if size >= p.big {
		extra = le.AppendUint16(extra, zip64Extra)
		extra = le.AppendUint16(extra, 16)
		extra = le.AppendUint64(extra, uint64(size))
		extra = le.AppendUint64(extra, uint64(size))
	}
	extra = le.AppendUint16(extra, alignExtra)
	extra = le.AppendUint16(extra, uint16(minAlignExtra-4+m.padding))
	extra = le.AppendUint16(extra, pageAlign)
	extra = append(extra, make([]byte, m.padding)...)

	b := le.AppendUint32(nil, localMagic)
	b = p.common(b, m, p.version(size))
	b = le.AppendUint16(b, uint16(len(extra)))
	b = append(b, m.Name...)
	return append(b, extra...)
}

// directoryHeader stands in the directory.
func (p plan) directoryHeader(m placed) []byte {
	size := int64(m.UncompressedSize64)
	le := binary.LittleEndian
	var extra []byte
	if size >= p.big {
		extra = le.AppendUint64(extra, uint64(size))
		extra = le.AppendUint64(extra, uint64(size))
	}
	if m.header >= p.big {
		extra = le.AppendUint64(extra, uint64(m.header))
	}
	if len(extra) > 0 {
		extra = append(le.AppendUint16(le.AppendUint16(nil, zip64Extra), uint16(len(extra))), extra...)
	}
	version := p.version(size, m.header)
	b := le.AppendUint32(nil, directoryMagic)
	b = le.AppendUint16(b, unixMade|version)
	b = p.common(b, m, version)
	b = le.AppendUint16(b, uint16(len(extra)))
	b = append(b, 0, 0, 0, 0, 0, 0) // no comment, first disk, binary
	b = le.AppendUint32(b, regular644)
	b = le.AppendUint32(b, p.short(m.header))
	b = append(b, m.Name...)
	return append(b, extra...)
}

// end stands behind the directory.
func (p plan) end() []byte {
	le := binary.LittleEndian
	count, size := int64(len(p.members)), p.closing-p.directory
	var b []byte
	if count >= math.MaxUint16 || size >= p.big || p.directory >= p.big {
		b = le.AppendUint32(b, end64Magic)
		b = le.AppendUint64(b, 44) // bytes that follow
		b = le.AppendUint16(b, unixMade|version45)
		b = le.AppendUint16(b, version45)
		b = append(b, 0, 0, 0, 0, 0, 0, 0, 0) // one disk
		for _, v := range []int64{count, count, size, p.directory} {
			b = le.AppendUint64(b, uint64(v))
		}
		b = le.AppendUint32(b, locatorMagic)
		b = le.AppendUint32(b, 0)
		b = le.AppendUint64(b, uint64(p.closing))
		b = le.AppendUint32(b, 1) // of one disk
	}
	few := uint16(min(count, math.MaxUint16))
	b = le.AppendUint32(b, endMagic)
	b = append(b, 0, 0, 0, 0)
	b = le.AppendUint16(b, few)
	b = le.AppendUint16(b, few)
	b = le.AppendUint32(b, p.short(size))
	b = le.AppendUint32(b, p.short(p.directory))
	return append(b, 0, 0) // no comment
}
