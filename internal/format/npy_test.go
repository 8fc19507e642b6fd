// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package format

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNpyHeadersAreRead(t *testing.T) {
	record := `[('a', '<f4'), ('', '|V4'), (('title', 'O'), '<i8', (2, 3)), ` +
		`('n', [('x', '|S3')], (2,)), ('s', ('<u2', (4,)))]`
	for _, c := range []struct {
		header string
		want   Meta
		data   int64
	}{
		{header("'<f4'", "(3, 4)"), Meta{DType: "<f4", Shape: []int64{3, 4}}, 48},
		{header("'|b1'", "(5,)"), Meta{DType: "|b1", Shape: []int64{5}}, 5},
		{header("'<U5'", "()"), Meta{DType: "<U5", Shape: []int64{}}, 20},
		{header("'>c16'", "(2, 0, 3)"), Meta{DType: ">c16", Shape: []int64{2, 0, 3}}, 0},
		{header("'<M8[ns]'", "(2,)"), Meta{DType: "<M8[ns]", Shape: []int64{2}}, 16},
		{header("'|V2'", "(2L, 3L)"), Meta{DType: "|V2", Shape: []int64{2, 3}}, 12},
		{header(record, "(10,)"), Meta{DType: record, Shape: []int64{10}}, 10 * (4 + 4 + 48 + 6 + 8)},
		{
			`{"shape": (2, 1), "fortran_order": True, "descr": "<f8"}`,
			Meta{DType: "<f8", Shape: []int64{2, 1}, Order: "F"},
			16,
		},
		{header(`[('it\'s', '<f4')]`, "(1,)"), Meta{DType: `[('it\'s', '<f4')]`, Shape: []int64{1}}, 4},
	} {
		for _, version := range []byte{1, 2, 3} {
			file := npyVersion(version, c.header, int(c.data))
			c.want.Format, c.want.Offset = Npy, int64(len(file))-c.data
			if c.want.Order == "" {
				c.want.Order = "C"
			}
			c.want.Need = int64(len(file))
			for _, read := range []func([]byte) (Meta, error){inspected, Peek} {
				got, err := read(file)
				if err != nil {
					t.Errorf("%s: %v", c.header, err)
				} else if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("version %d, %s:\n%s", version, c.header, diff)
				}
			}
			if got, err := Peek(file[:c.want.Offset]); err != nil || !cmp.Equal(got, c.want) {
				t.Errorf("%s: the header alone reads as %+v, %v", c.header, got, err)
			}
		}
	}
}

// numpy writes Latin-1 in versions 1.0 and 2.0, and UTF-8 since 3.0.
func TestNpyNamesAreReadInTheHeadersEncoding(t *testing.T) {
	for major, name := range map[byte]string{1: "\xe4", 2: "\xe4", 3: "ä"} {
		header := "{'descr': [('" + name + "', '<f4')], 'fortran_order': False, 'shape': (2,), }"
		h, err := inspected(npyVersion(major, header, 8))
		if want := "[('ä', '<f4')]"; err != nil || h.DType != want {
			t.Errorf("version %d: dtype %q, want %q: %v", major, h.DType, want, err)
		}
	}
}

func TestEverythingElseIsRaw(t *testing.T) {
	for _, raw := range []string{
		"", "x", "\x93NUMP", "\x93NUMPx\x01\x00", "PK\x03\x04", "hello world", "\x93PK5\n", "ARROW1",
		"ARROW1\x00x", "\xff\xff\xff\xff",
		"SQLite format 4\x00", strings.Repeat("\xff", 64), strings.Repeat("\x00", 64), "PAR1", "\x80\x05",
	} {
		for _, read := range []func([]byte) (Meta, error){inspected, Peek} {
			if got, err := read([]byte(raw)); err != nil || !cmp.Equal(got, Meta{Format: Raw}) {
				t.Errorf("%q: %+v, %v", raw, got, err)
			}
		}
	}
}

func TestDamagedAndHostileNpyHeadersAreRefused(t *testing.T) {
	long := strings.Repeat("9", 30)
	for _, c := range []struct{ name, file, want string }{
		{"objects", string(npy(header("'|O'", "(2,)"), 16)), "save it as a numeric or fixed-width array"},
		{"objects in a field", string(npy(header("[('a', '<f4'), ('b', [('c', '|O8')])]", "(2,)"), 0)), "never unpickles"},
		{"magic only", npyMagic, "truncated npy: it ends within its header"},
		{"no length", npyMagic + "\x01\x00\x10", "truncated npy: it ends within its header"},
		{"half a header", npyMagic + "\x01\x00\x10\x00{'descr'", "truncated npy: it ends within its header"},
		{"future version", npyMagic + "\x04\x00\x10\x00\x00\x00{}", "version 4.0 is not known"},
		{
			"data missing", string(npy(header("'<f4'", "(3, 4)"), 47)),
			"truncated npy: its header says 181 bytes in all (shape (3, 4) of <f4), but it has 180",
		},
		{"not UTF-8", string(npyVersion(3, "{'\xe4", 0)), "it is not UTF-8"},
		{"odd version", npyMagic + "\x01\x07\x10\x00", "version 1.7 is not known"},
		{"huge length", npyMagic + "\x02\x00\xff\xff\xff\xff{", "4,294,967,295 bytes is too long"},
		{"no dict", string(npy("", 0)), "it ends too early"},
		{"junk", string(npy("os.system('x')", 0)), "unexpected 'o' at byte 0"},
		{"after the dict", string(npy(header("'<f4'", "(1,)")+"x", 4)), "unexpected 'x'"},
		{"key twice", string(npy("{'shape': (), 'shape': (), 'descr': '<f4', 'fortran_order': True}", 4)), "twice"},
		{"key missing", string(npy("{'shape': (), 'descr': '<f4'}", 4)), "it must hold descr, fortran_order and shape"},
		{"key too many", string(npy("{'x': (), 'shape': (), 'descr': '<f4', 'fortran_order': True}", 4)), "nothing else"},
		{"order not a bool", string(npy("{'shape': (), 'descr': '<f4', 'fortran_order': 1}", 4)), "must hold"},
		{"shape a number", string(npy(header("'<f4'", "3"), 0)), "must hold"},
		{"shape of words", string(npy(header("'<f4'", "('a',)"), 0)), "not a tuple of sizes"},
		{"negative size", string(npy(header("'<f4'", "(-1, 3)"), 0)), "not a tuple of sizes"},
		{"size too long", string(npy(header("'<f4'", "("+long+",)"), 0)), "is not a size"},
		{"shape overflows", string(npy(header("'|V1'", "(4294967296, 4294967296)"), 0)), "larger than any memory"},
		{"hidden overflow", string(npy(header("'|V1'", "(0, 4294967296, 4294967296)"), 0)), "larger than any memory"},
		{"bytes overflow", string(npy(header("'<f8'", "(2305843009213693952,)"), 0)), "larger than any memory"},
		{"offset overflows", string(npy(header("'|V1'", "(9223372036854775807,)"), 0)), "larger than any memory"},
		{"U overflows", string(npy(header("'<U4611686018427387904'", "(1,)"), 0)), "not known"},
		{"record overflows", string(npy(header("[('a','V9223372036854775807'),('b','V1')]", "()"), 0)), "larger than any"},
		{"subarray overflows", string(npy(header("[('a','<f8',(9223372036854775807,))]", "(1,)"), 0)), "larger than any"},
		{"too many dimensions", string(npy(header("'<f4'", "("+strings.Repeat("1,", 65)+")"), 4)), "65 dimensions"},
		{"deep", string(npy(header("'<f4'", strings.Repeat("(", 5000)), 0)), "nested deeper"},
		{"descr a number", string(npy(header("3", "()"), 0)), "descr is not a dtype"},
		{"no byte count", string(npy(header("'<f'", "()"), 0)), "is not known"},
		{"signed byte count", string(npy(header("'|S+4'", "()"), 0)), "is not known"},
		{"two byte orders", string(npy(header("'<<f4'", "()"), 0)), "is not known"},
		{"empty dtype", string(npy(header("''", "()"), 0)), "is not known"},
		{"odd float", string(npy(header("'<f3'", "()"), 0)), "is not known"},
		{"field not a tuple", string(npy(header("['<f4']", "()"), 0)), "a field must be"},
		{"field without a name", string(npy(header("[(1, '<f4')]", "()"), 0)), "a field has no name"},
		{"string without end", string(npy("{'descr", 0)), "a string has no end"},
		{"list without end", string(npy("{'descr': [", 0)), "it ends too early"},
	} {
		refused(t, c.name, []byte(c.file), c.want)
	}
}

func TestAnErrorOfTheReaderIsReported(t *testing.T) {
	broken := errors.New("broken")
	for _, name := range []string{
		"plain.npy", "packed.npz", "stored.npz", "plain.safetensors", "plain.arrow", "types.arrows", "array.pk5", "table.csv",
	} {
		b := file(t, name)
		for limit := range len(b) {
			_, err := Inspect(&failsAt{b, limit, broken}, int64(len(b)))
			if limit == 0 && err == nil || err != nil && !strings.Contains(err.Error(), broken.Error()) {
				t.Errorf("%s fails at byte %d: %v", name, limit, err)
			}
		}
	}
}

func TestWhatShrinksWhileItIsReadIsTruncated(t *testing.T) {
	for name, keep := range map[string]int{"plain.npy": 40, "plain.safetensors": 100, "plain.arrow": 2000, "array.pk5": 30} {
		b := file(t, name)
		_, err := Inspect(&shrinks{bytes.NewReader(b), bytes.NewReader(b[:keep])}, int64(len(b)))
		if !errors.Is(err, ErrTruncated) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// shrinks has all its bytes at the first read and few at the others.
type shrinks struct{ first, others io.ReaderAt }

func (s *shrinks) ReadAt(p []byte, off int64) (int, error) {
	r := s.first
	s.first = s.others
	return r.ReadAt(p, off)
}

// failsAt fails where the byte at limit is read.
type failsAt struct {
	b     []byte
	limit int
	err   error
}

func (f *failsAt) ReadAt(p []byte, off int64) (int, error) {
	if off <= int64(f.limit) && int64(f.limit) < off+int64(len(p)) {
		return copy(p, f.b[off:f.limit]), f.err
	}
	return bytes.NewReader(f.b).ReadAt(p, off)
}

// numpy itself writes the files and says what is in them.
func TestNpyAgreesWithNumpy(t *testing.T) {
	python := python(t, "numpy")
	dir := t.TempDir()
	lines := strings.Split(run(t, python, "testdata/arrays.py", dir), "\n")
	if len(lines) < 20 {
		t.Fatalf("only %d arrays", len(lines))
	}
	for _, line := range lines {
		column := strings.Split(line, "\t") // file, shape or "object", order
		b, err := os.ReadFile(filepath.Join(dir, column[0]))
		if err != nil {
			t.Fatal(err)
		}
		got, err := inspected(b)
		if column[1] == "object" {
			if !errors.Is(err, errObject) {
				t.Errorf("%s: %v", column[0], err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if shape := ShapeText(got.Shape); shape != column[1] || got.Order != column[2] {
			t.Errorf("%s: got %s %s", line, shape, got.Order)
		}
		if got.Need != int64(len(b)) {
			t.Errorf("%s (%s): computed %d bytes, numpy wrote %d", column[0], got.DType, got.Need, len(b))
		}
	}
}

func TestMulGuardsAgainstOverflow(t *testing.T) {
	for _, c := range []struct {
		a, b, want int64
		ok         bool
	}{
		{0, math.MaxInt64, 0, true},
		{math.MaxInt64, 0, 0, true},
		{1, math.MaxInt64, math.MaxInt64, true},
		{2, math.MaxInt64/2 + 1, 0, false},
	} {
		if got, ok := mul(c.a, c.b); ok != c.ok || got != c.want {
			t.Errorf("%d × %d: %d, %t", c.a, c.b, got, ok)
		}
	}
}
