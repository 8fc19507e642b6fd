// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package format

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const pickled = "\x80\x05N."

// bundle is a pk5 whose entries are these numbers (offset, length, flags), of total bytes. The pickle is put where the
// first one says.
func bundle(total int, entries ...uint64) []byte {
	b := []byte(pk5Magic)
	b = binary.LittleEndian.AppendUint32(b, pk5Version)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(entries)/3))
	b = binary.LittleEndian.AppendUint64(b, uint64(total))
	for _, v := range entries {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	b = append(b, make([]byte, max(total-len(b), 0))...)
	if len(entries) > 0 && entries[0] < uint64(len(b)) {
		copy(b[entries[0]:], pickled)
	}
	return b
}

func TestPk5IsRecognised(t *testing.T) {
	for _, name := range []string{"array.pk5", "table.pk5", "plain.pk5"} {
		b := file(t, name)
		want := Meta{Format: Pk5, Need: int64(len(b))}
		if got := must(t, name, b); !cmp.Equal(got, want) {
			t.Errorf("%s: %+v", name, got)
		}
		for _, n := range []int{24, 48, 80, len(b)} {
			if got, err := Peek(b[:n]); err != nil || !cmp.Equal(got, want) {
				t.Errorf("%s: Peek of %d bytes says %+v, %v", name, n, got, err)
			}
		}
		if got, err := Peek(b[:23]); err != nil || !cmp.Equal(got, Meta{Format: Pk5}) {
			t.Errorf("%s: Peek of half a header says %+v, %v", name, got, err)
		}
	}
	must(t, "empty buffers", bundle(260, 128, 4, 0, 192, 0, 1, 192, 0, 0, 192, 68, 1))
}

func TestDamagedPk5IsRefused(t *testing.T) {
	good := bundle(300, 128, 4, 0, 192, 40, 1, 256, 44, 0)
	must(t, "good", good)
	version := bundle(300, 128, 4, 0)
	version[8] = 2
	many := bundle(300, 128, 4, 0)
	copy(many[12:], "\xff\xff\xff\xff")
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"cut", good[:299], "truncated pk5: its header says 300 bytes in all, but it has 299"},
		{"cut in the table", good[:50], "truncated pk5: its header"},
		{"cut in the header", good[:20], "truncated pk5: it ends within its header"},
		{"longer", append(bundle(300, 128, 4, 0), 0), "says 300 bytes in all, but it has 301"},
		{"version", version, "pk5 version 2 is not known"},
		{"no entries", bundle(300), "it has no pickle stream"},
		{"entries without room", many, "4294967295 entries do not fit"},
		{"total too large", bundle(-1, 128, 4, 0), "do not fit a total of"},
		{"flags", bundle(300, 128, 4, 2), "entry 0 has flags 0x2"},
		{"high flags", bundle(300, 128, 4, 1<<63), "has flags"},
		{"alignment", bundle(300, 128, 4, 0, 200, 8, 0), "entry 1 begins at byte 200, which is no multiple"},
		{"in the table", bundle(300, 64, 4, 0, 192, 8, 0), "entry 0 begins at byte 64, within what comes before"},
		{"overlap", bundle(300, 128, 70, 0, 192, 8, 0), "entry 1 begins at byte 192, within"},
		{"backwards", bundle(300, 192, 4, 0, 128, 8, 0), "entry 1 begins at byte 128, within"},
		{"outside", bundle(300, 128, 4, 0, 256, 45, 0), "entry 1 (45 bytes at 256) lies outside"},
		{"begins outside", bundle(300, 128, 4, 0, 320, 0, 0), "lies outside"},
		{"overflow", bundle(300, 128, 4, 0, 256, ^uint64(0)-100, 0), "lies outside"},
		{"short pickle", bundle(300, 128, 2, 0), "not a whole pickle"},
		{"pickle without end", bundle(300, 128, 3, 0), "not a whole pickle"},
		{"empty pickle", bundle(300, 128, 0, 0, 128, 4, 0), "not a whole pickle"},
	} {
		refused(t, c.name, c.b, c.want)
	}
	protocol := bundle(300, 128, 4, 0)
	protocol[129] = 4
	refused(t, "protocol", protocol, "not a whole pickle of protocol 5")
	if _, err := Peek(bundle(300, 128, 4, 2)); err == nil {
		t.Error("Peek does not refuse what stands in the table")
	}
}

// clients/python is what writes and reads it: what it writes is accepted, and its arrays are views of the content.
func TestPk5HoldsWhatPythonPickled(t *testing.T) {
	python := python(t, "numpy")
	path := filepath.Join(t.TempDir(), "a.pk5")
	run(t, python, "-c", `
import sys; sys.dont_write_bytecode = True; sys.path.insert(0, "../../clients/python/src")
import mmap, numpy as np
from preforkd import pk5
want = {"a": np.arange(1000.0).reshape(10, 100), "b": np.arange(7, dtype="i2"), "n": "text"}
want["f"] = np.asfortranarray(np.ones((3, 2)))
with open(sys.argv[1], "wb") as f:
    pk5.dump(want, f)
with open(sys.argv[1], "rb") as f:
    content = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
got = pk5.load(content)
whole = np.frombuffer(content, "u1")
for name in "abf":
    np.testing.assert_array_equal(got[name], want[name])
    assert np.shares_memory(got[name], whole) and not got[name].flags.writeable
    assert got[name].__array_interface__["data"][0] % 64 == 0
assert got["n"] == "text"
`, path)
	meta, err := inspectFile(path)
	if err != nil || meta.Format != Pk5 {
		t.Fatal(fmt.Sprint(meta, err))
	}
}
