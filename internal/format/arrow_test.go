// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package format

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestArrowTellsItsColumns(t *testing.T) {
	want := []Field{
		{"id", "int64", true},
		{"name", "utf8", true},
		{"kind", "dictionary<values=utf8, indices=int32>", true},
		{"at", "timestamp[us, UTC]", true},
		{"local", "timestamp[ns]", true},
		{"vec", "list<float32>", true},
		{"fixed", "fixed_size_list<int8>[2]", true},
		{"point", "struct<x: float64, y: large_utf8>", true},
		{"map", "map<key: utf8, value: uint16>", true},
		{"day", "date32", true},
		{"price", "decimal128(10, 2)", true},
		{"raw", "fixed_size_binary[2]", true},
		{"took", "duration[ms]", true},
		{"clock", "time64[us]", true},
		{"view", "utf8_view", true},
		{"none", "null", true},
		{"half", "float16", true},
		{"big", "large_list<bool>", true},
		{"must", "uint8", false},
	}
	for name, format := range map[string]string{"types.arrow": Arrow, "types.arrows": ArrowStream} {
		got := must(t, name, file(t, name))
		if diff := cmp.Diff(Meta{Format: format, Schema: want}, got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
	peeked := Meta{Format: ArrowStream, Schema: want}
	if got, err := Peek(file(t, "types.arrows")[:3000]); err != nil || !cmp.Equal(got, peeked) {
		t.Errorf("Peek of a stream says %+v, %v", got, err)
	}
	if got, err := Peek(file(t, "types.arrows")[:1000]); err != nil || !cmp.Equal(got, Meta{Format: ArrowStream}) {
		t.Errorf("Peek of a stream's first bytes says %+v, %v", got, err)
	}
	if got, err := Peek(file(t, "types.arrow")); err != nil || !cmp.Equal(got, Meta{Format: Arrow}) {
		t.Errorf("Peek of a file says %+v, %v", got, err)
	}
}

func TestArrowHintsAtCompressedBodies(t *testing.T) {
	for name, codec := range map[string]string{
		"lz4.arrow": "lz4", "default.feather": "lz4", "zstd.arrows": "zstd",
		"plain.arrow": "", "plain.feather": "", "old.arrow": "",
	} {
		got := must(t, name, file(t, name))
		if codec == "" && got.Hint != "" || !strings.Contains(got.Hint, codec) || len(got.Schema) != 2 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestDamagedArrowIsRefused(t *testing.T) {
	b := file(t, "plain.arrow")
	for n := len(arrowMagic); n < len(b); n++ {
		refused(t, "cut", b[:n], "truncated arrow: it")
	}
	change := func(at int, values ...byte) []byte {
		c := bytes.Clone(b)
		if at < 0 {
			at += len(c)
		}
		copy(c[at:], values)
		return c
	}
	footer := len(b) - 10 - int(binary.LittleEndian.Uint32(b[len(b)-10:]))
	refused(t, "footer too long", change(-10, 0, 0, 0, 1), "a footer of 16777216 bytes does not fit")
	refused(t, "footer too short", change(-10, 4, 0, 0, 0), "its schema is damaged")
	refused(t, "root outside", change(footer, 0xff, 0xff, 0xff, 0x7f), "its schema is damaged")
	blocks, err := readBlocks((&flat{b: b[footer : len(b)-10]}).root(), int64(footer))
	if err != nil || len(blocks) != 4 {
		t.Fatalf("%d blocks: %v", len(blocks), err)
	}
	last := blocks[len(blocks)-1]
	// The blocks are in the footer as they are read: find the last one by its three numbers.
	entry := binary.LittleEndian.AppendUint64(nil, uint64(last.offset))
	at := footer + bytes.Index(b[footer:], entry)
	first := footer + bytes.Index(b[footer:], binary.LittleEndian.AppendUint64(nil, uint64(blocks[0].offset)))
	refused(t, "block behind the footer", change(at+3, 1), "lies outside it")
	refused(t, "block negative", change(at+7, 0x80), "lies outside it")
	refused(t, "metadata outside", change(at+8, 0, 0, 1), "lies outside it")
	refused(t, "body outside", change(at+16, 0, 0, 0, 0, 1), "lies outside it")
	refused(t, "blocks overlap", change(at, b[first:first+8]...), "overlaps")
	refused(t, "block is the schema", change(first, 8, 0, 0, 0, 0, 0, 0, 0), "damaged arrow: the block at byte 8: ")
	refused(t, "metadata too long", change(int(last.offset)+4, 0xff, 0xff), "its metadata of")
	refused(t, "body too long", change(at+16, 0, 0), "its body of")
	length := binary.LittleEndian.AppendUint64(nil, uint64(last.body)) // stands in the metadata too
	body := int(last.offset) + bytes.Index(b[last.offset:last.offset+last.metadata], length)
	refused(t, "buffer outside", change(body, 8, 0), "one of its buffers lies outside its body")
	refused(t, "body negative", change(body+7, 0x80), "its metadata is damaged")
	refused(t, "metadata damaged", change(int(last.offset)+8, 0xff, 0xff), "its metadata is damaged")
}

func TestDamagedArrowStreamIsRefused(t *testing.T) {
	b := file(t, "types.arrows")
	// Whole messages are a whole stream, with or without its end.
	ends := map[int]bool{}
	c := content{r: bytes.NewReader(b), size: int64(len(b))}
	for off := int64(0); ; {
		length, err := c.metadataLength(off)
		if err != nil {
			t.Fatal(err)
		}
		if length == 0 {
			break
		}
		m, err := c.message(off)
		if err != nil {
			t.Fatal(err)
		}
		off = m.end(off, length)
		ends[int(off)] = true
	}
	if len(ends) != 3 {
		t.Fatalf("%d messages, want schema, dictionary and batch", len(ends))
	}
	schema := int(binary.LittleEndian.Uint32(b[4:])) + 8
	for n := 64; n < len(b); n++ {
		if ends[n] {
			must(t, "whole messages", b[:n])
		} else {
			refused(t, "cut", b[:n], "truncated arrow-stream: it ends within")
		}
	}
	twice := append(bytes.Clone(b[:schema]), b[:schema]...)
	refused(t, "a schema among the batches", twice, "it is no batch")
	refused(t, "no message", append(bytes.Clone(b[:schema]), "hello world"...), "no message begins there")
	must(t, "something behind the end", append(bytes.Clone(b), "hello"...))
}

func TestWhatOnlyBeginsLikeArrowIsRaw(t *testing.T) {
	minus := []byte{0xff, 0xff, 0xff, 0xff, 0x40, 0, 0, 0, 0x10, 0, 0, 0} // -1, 64, 16, …
	for name, b := range map[string][]byte{
		"numbers":       append(minus, make([]byte, 200)...),
		"more numbers":  append(minus, bytes.Repeat([]byte{1, 0, 0, 0}, 50)...),
		"all ones":      bytes.Repeat([]byte{0xff}, 4096),
		"-1 and zeros":  append([]byte{0xff, 0xff, 0xff, 0xff}, make([]byte, 200)...),
		"text":          []byte("ARROW1 is a magic"),
		"schema is cut": file(t, "types.arrows")[:20],
		"no schema":     file(t, "types.arrows")[8+binary.LittleEndian.Uint32(file(t, "types.arrows")[4:]):],
	} {
		if got, err := inspected(b); err != nil || !cmp.Equal(got, Meta{Format: Raw}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// In a hostile schema 60 lists may lie in each other, each with the next one as its child twice: 2^60 columns.
func TestArrowSchemaThatRefersToItsTablesTwiceIsRefused(t *testing.T) {
	const tables = 48
	b := make([]byte, tables)
	b[0] = tables                    // the root
	copy(b[16:], "\x08\x00\x08\x00") // the vtable of a Schema, whose field 1, fields, lies at 4
	b[16+4+2*1] = 4
	copy(b[32:], "\x10\x00\x08\x00") // the vtable of a Field, whose field 5, children, lies at 4
	b[32+4+2*5] = 4
	for i := range 60 {
		vtable := uint32(32)
		if i == 0 {
			vtable = 16
		}
		// Its vtable; its vector is 4 further on: 2 items, 8 and 4 bytes before the next table.
		for _, v := range []uint32{uint32(len(b)) - vtable, 4, 2, 8, 4} {
			b = binary.LittleEndian.AppendUint32(b, v)
		}
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(b))-32)
	f := &flat{b: append(b, make([]byte, 1000)...)}
	if _, err := readSchema(f.root()); !errors.Is(err, errBadSchema) || f.bad {
		t.Errorf("it was read: %v, %t", err, f.bad)
	}
}

// The library itself must take what is accepted, and count the same columns.
func TestArrowIsWhatPyarrowReads(t *testing.T) {
	python := python(t, "pyarrow.ipc")
	var cases, want strings.Builder
	for name := range strings.FieldsSeq("types.arrow types.arrows lz4.arrow zstd.arrows old.arrow plain.feather") {
		meta := must(t, name, file(t, name))
		open := map[string]string{Arrow: "open_file", ArrowStream: "open_stream"}[meta.Format]
		fmt.Fprintf(&cases, "(%q, i.%s), ", filepath.Join("testdata", name), open)
		for _, f := range meta.Schema {
			want.WriteString(f.Name + " ")
		}
	}
	got := run(t, python, "-c", `
import pyarrow.ipc as i
for path, read in [`+cases.String()+`]:
    with open(path, "rb") as f:
        table = read(f.read()).read_all()
    table.validate(full=True)
    print(*table.column_names, end=" ")
`)
	if got != strings.TrimSpace(want.String()) {
		t.Errorf("pyarrow reads %s, preforkd %s", got, want.String())
	}
}
