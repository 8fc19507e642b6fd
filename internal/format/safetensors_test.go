// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package format

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tensors is a safetensors file with this header and so many bytes of data.
func tensors(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, data)...)
}

func TestSafetensorsTellsItsTensors(t *testing.T) {
	b := file(t, "plain.safetensors")
	want := Meta{Format: Safetensors, Need: int64(len(b)), Members: []Member{
		{"ids", "I64", []int64{100}, "C", 312, 800},
		{"emb", "F32", []int64{40, 8}, "C", 1112, 1280},
		{"none", "F16", []int64{0, 4}, "C", 2392, 0},
		{"flag", "BOOL", []int64{3}, "C", 2392, 3},
	}}
	if diff := cmp.Diff(want, must(t, "plain.safetensors", b)); diff != "" {
		t.Error(diff)
	}
	if got, err := Peek(b[:312]); err != nil || !cmp.Equal(got, want) {
		t.Errorf("Peek of the header says %+v, %v", got, err)
	}
	if got, err := Peek(b[:311]); err != nil || !cmp.Equal(got, Meta{Format: Safetensors}) {
		t.Errorf("Peek of most of the header says %+v, %v", got, err)
	}
	empty := Meta{Format: Safetensors, Need: 16}
	if got := must(t, "empty", file(t, "empty.safetensors")); !cmp.Equal(got, empty) {
		t.Errorf("no tensors: %+v", got)
	}
}

func TestSafetensorsTakesEveryDType(t *testing.T) {
	for dtype, bytes := range map[string]int{
		"F64": 48, "F32": 24, "F16": 12, "BF16": 12, "I64": 48, "I32": 24, "I16": 12, "I8": 6, "U64": 48, "U32": 24,
		"U16": 12, "U8": 6, "BOOL": 6, "F8_E4M3": 6, "F8_E5M2": 6, "F8_E8M0": 6, "F4": 3, "C64": 48, "LATER": 12,
		"F2_LATER": 3, "C128": 96,
	} {
		header := fmt.Sprintf(`{"a":{"dtype":%q,"shape":[2,3],"data_offsets":[0,%d]}}`, dtype, bytes)
		if m := must(t, dtype, tensors(header, bytes)).Members[0]; m.DType != dtype || m.Size != int64(bytes) {
			t.Errorf("%s: %+v", dtype, m)
		}
	}
}

func TestDamagedSafetensorsIsRefused(t *testing.T) {
	one := func(dtype, shape, offsets string) string {
		return fmt.Sprintf(`{"__metadata__":{"a":"b"},"a":{"dtype":"%s","shape":%s,"data_offsets":%s}}`,
			dtype, shape, offsets)
	}
	two := func(first, second string) string {
		return fmt.Sprintf(`{"a":{"dtype":"U8","shape":[4],"data_offsets":%s},`+
			`"b":{"dtype":"U8","shape":[4],"data_offsets":%s}}`, first, second)
	}
	good := one("F32", "[2]", "[0,8]")
	must(t, "good", tensors(good, 8))
	must(t, "in any order", tensors(two("[4,8]", "[0,4]"), 8))
	for _, c := range []struct {
		name, header string
		data         int
		want         string
	}{
		{"short", good, 7, "truncated safetensors: its header says 95 bytes in all, but it has 94"},
		{"long", good, 9, "damaged safetensors: its header says 95 bytes in all, but it has 96"},
		{"size", one("F32", "[2]", "[0,7]"), 7, `tensor "a": shape (2,) of F32 does not take the 7 bytes`},
		{"no size", one("LATER", "[2]", "[0,100]"), 100, `dtype "LATER" is not known, and 100 bytes for 2 items`},
		{"half a byte", one("F4", "[3]", "[0,1]"), 1, "does not take the 1 bytes"},
		{"huge", one("F32", "[4294967296,4294967296]", "[0,8]"), 8, "larger than any memory"},
		{"end overflows", one("U8", "[9223372036854775807]", "[0,9223372036854775807]"), 8, "does not take"},
		{"negative shape", one("F32", "[-2]", "[0,8]"), 8, "its shape is no list of sizes"},
		{"fraction", one("F32", "[2.5]", "[0,8]"), 8, "its shape is no list of sizes"},
		{"null in shape", one("F32", "[null]", "[0,8]"), 8, "its shape is no list of sizes"},
		{"dimensions", one("F32", "[1"+strings.Repeat(",1", 64)+"]", "[0,4]"), 4, "its shape has 65 dimensions"},
		{"null shape", one("F32", "null", "[0,8]"), 8, "its shape is no list of sizes"},
		{"backwards", one("F32", "[2]", "[8,0]"), 8, "it ends at 0, before its begin at 8"},
		{"three offsets", one("F32", "[2]", "[0,8,8]"), 8, "two data_offsets"},
		{"offsets are text", one("F32", "[2]", `["0","8"]`), 8, "its data_offsets is no list"},
		{"no dtype", `{"a":{"shape":[2],"data_offsets":[0,8]}}`, 8, "it must have dtype"},
		{"dtype a number", `{"a":{"dtype":3,"shape":[2],"data_offsets":[0,8]}}`, 8, "its dtype is no text"},
		{"DTYPE", `{"a":{"DTYPE":"F32","shape":[2],"data_offsets":[0,8]}}`, 8, "it must have dtype"},
		{"key twice", `{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8, `"dtype" stands`},
		{"tensor twice", strings.Replace(two("[0,4]", "[4,8]"), `"b"`, `"a"`, 1), 8, `tensor "a" stands there twice`},
		{"hole at the front", one("F32", "[2]", "[4,12]"), 12, "leaves a hole before it"},
		{"hole", two("[0,4]", "[5,9]"), 9, `tensor "b" (bytes 5 to 9) leaves a hole`},
		{"overlap", two("[0,4]", "[3,7]"), 7, `tensor "b" (bytes 3 to 7) overlaps`},
		{"same", two("[0,4]", "[0,4]"), 4, "overlaps"},
		{"metadata of numbers", strings.Replace(good, `{"a":"b"}`, `{"a":1}`, 1), 8, "must map text to text"},
		{"not UTF-8", strings.Replace(good, `"a":{"d`, "\"\xff\":{\"d", 1), 8, "its header is not UTF-8"},
		{"an entry is a number", `{"b":1,` + good[1:], 8, `tensor "b": it is no JSON object`},
	} {
		refused(t, c.name, tensors(c.header, c.data), c.want)
	}
	b := tensors(good, 8)
	refused(t, "within the header", b[:70], "truncated safetensors: it ends within its header, after 70 bytes")
	if _, err := Peek(tensors(one("F32", "[2]", "[0,7]"), 0)); err == nil {
		t.Error("Peek does not refuse what needs no more than the header")
	}
}

func TestWhatOnlyBeginsLikeSafetensorsIsRaw(t *testing.T) {
	for name, b := range map[string][]byte{
		"no JSON":         tensors(`{"a": "b", oops}`, 8),
		"cut JSON":        tensors(`{"a": "data_offsets"`, 8),
		"other JSON":      tensors(`{"a": {"b": 1}}`, 8),
		"numbers":         tensors(`{"a": 1}`, 0),
		"empty, but data": tensors(`{}`, 8),
		"longer than all": append(tensors(`{"a": {"b": 1}}`, 8)[:8:8], `{"a": {`...),
		"list":            tensors(`["a"]`, 0),
		"too long": append(binary.LittleEndian.AppendUint64(nil, maxSafetensorsHeader+1),
			`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`...),
	} {
		if got, err := inspected(b); err != nil || got.Format != Raw {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// The library itself must take what is accepted, and say the same.
func TestSafetensorsAgreesWithTheLibrary(t *testing.T) {
	python := python(t, "numpy, safetensors.numpy")
	path := filepath.Join(t.TempDir(), "a.safetensors")
	var program strings.Builder
	program.WriteString("import sys, numpy as np\nfrom safetensors import safe_open\n" +
		"f = safe_open(sys.argv[1], 'np')\nseen = set()\n")
	header := `{"x":{"dtype":"U16","shape":[2,2],"data_offsets":[12,20],"more":{}}, "__metadata__":{"k":"v"},` +
		`"y":{"shape":[3],"data_offsets":[0,12],"dtype":"F32"}}   `
	b := tensors(header, 20)
	for i := range 20 {
		b[len(b)-20+i] = byte(i)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, m := range must(t, "made by hand", b).Members {
		fmt.Fprintf(&program, "seen.add(%q); a = f.get_tensor(%q); m = np.memmap(sys.argv[1], a.dtype, 'r', %d, %s)\n",
			m.Name, m.Name, m.Offset, ShapeText(m.Shape))
		fmt.Fprintf(&program, "np.testing.assert_array_equal(a, m); assert a.nbytes == %d\n", m.Size)
	}
	program.WriteString("assert seen == set(f.keys())\n")
	run(t, python, "-c", program.String(), path)
}
