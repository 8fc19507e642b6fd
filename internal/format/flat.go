// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package format

// This file reads FlatBuffers (https://flatbuffers.dev/internals/), as far as Arrow's messages need it, and trusts no
// offset: what lies outside the buffer reads as absent and marks it as bad.

import "encoding/binary"

// flat is a buffer. Its owner looks at bad after reading.
type flat struct {
	b   []byte
	bad bool
}

// table is a table within a buffer; pos 0 is an absent one, whose fields are all absent.
type table struct {
	f      *flat
	pos    int
	vtable int
	fields int // bytes of the vtable
}

// at returns n bytes at pos, or nil.
func (f *flat) at(pos, n int) []byte {
	if pos < 0 || n < 0 || pos > len(f.b) || n > len(f.b)-pos {
		f.bad = true
		return nil
	}
	return f.b[pos : pos+n]
}

func (f *flat) u16(pos int) int {
	if b := f.at(pos, 2); b != nil {
		return int(binary.LittleEndian.Uint16(b))
	}
	return 0
}

func (f *flat) u32(pos int) int {
	if b := f.at(pos, 4); b != nil {
		return int(binary.LittleEndian.Uint32(b))
	}
	return 0
}

func (f *flat) i64(pos int) int64 {
	if b := f.at(pos, 8); b != nil {
		return int64(binary.LittleEndian.Uint64(b))
	}
	return 0
}

// root is the table that the buffer is made for.
func (f *flat) root() table { return f.table(f.u32(0)) }

func (f *flat) table(pos int) table {
	t := table{f: f, pos: pos}
	if b := f.at(pos, 4); b != nil && pos > 0 {
		t.vtable = pos - int(int32(binary.LittleEndian.Uint32(b)))
	}
	t.fields = f.u16(t.vtable)
	if f.bad || pos <= 0 || t.fields < 4 || f.at(t.vtable, t.fields) == nil {
		f.bad = true
		return table{f: f}
	}
	return t
}

// field is the position of a field, 0 if it is absent.
func (t table) field(id int) int {
	slot := 4 + 2*id
	if t.pos == 0 || slot+2 > t.fields {
		return 0
	}
	offset := t.f.u16(t.vtable + slot)
	if offset == 0 {
		return 0
	}
	return t.pos + offset
}

// refers follows the offset in a field, 0 if it is absent.
func (t table) refers(id int) int {
	at := t.field(id)
	if at == 0 {
		return 0
	}
	return at + t.f.u32(at)
}

func (t table) sub(id int) table {
	if at := t.refers(id); at != 0 {
		return t.f.table(at)
	}
	return table{f: t.f}
}

func (t table) u8(id int) byte {
	if at := t.field(id); at != 0 {
		if b := t.f.at(at, 1); b != nil {
			return b[0]
		}
	}
	return 0
}

func (t table) bool(id int) bool { return t.u8(id) != 0 }

// enum is the first field, a number of two bytes: units, precisions and the like.
func (t table) enum(absent int) int {
	if at := t.field(0); at != 0 {
		return int(int16(t.f.u16(at)))
	}
	return absent
}

func (t table) i32(id, absent int) int {
	if at := t.field(id); at != 0 {
		return int(int32(t.f.u32(at)))
	}
	return absent
}

func (t table) i64(id int) int64 {
	if at := t.field(id); at != 0 {
		return t.f.i64(at)
	}
	return 0
}

// text is a string within the buffer.
func (t table) text(id int) []byte {
	if at := t.refers(id); at != 0 {
		return t.f.at(at+4, t.f.u32(at))
	}
	return nil
}

// vector returns where the first of count items lies, all of which are within the buffer.
func (t table) vector(id, itemSize int) (pos, count int) {
	at := t.refers(id)
	if at == 0 {
		return 0, 0
	}
	if count = t.f.u32(at); count > len(t.f.b) || t.f.at(at+4, count*itemSize) == nil {
		t.f.bad = true
		return 0, 0
	}
	return at + 4, count
}

// item is the table that the vector at pos refers to at index i.
func (f *flat) item(pos, i int) table {
	at := pos + 4*i
	return f.table(at + f.u32(at))
}
