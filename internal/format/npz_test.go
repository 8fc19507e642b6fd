// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package format

import (
	"archive/zip"
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// zipped is a zip of these members in turn: name, content. A name that ends in ":" is compressed.
func zipped(t testing.TB, members ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for i := 0; i < len(members); i += 2 {
		name, packed := strings.CutSuffix(members[i], ":")
		h := &zip.FileHeader{Name: name}
		if packed {
			h.Method = zip.Deflate
		}
		f, err := w.CreateHeader(h)
		if err == nil {
			_, err = f.Write([]byte(members[i+1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestNpzTellsItsArrays(t *testing.T) {
	record := "[('größe', '<f4'), ('n', '<i4', (2,))]"
	for name, want := range map[string][]Member{
		"stored.npz": {
			{"emb", "<f4", []int64{40, 8}, "C", -1, 1280},
			{"ids", "<i8", []int64{100}, "C", -1, 800},
			{"fortran", "<f8", []int64{3, 4}, "F", -1, 96},
			{"empty", "<f8", []int64{0, 3}, "C", -1, 0},
			{"scalar", "<i8", []int64{}, "C", -1, 8},
		},
		"packed.npz": {
			{"emb", "<f4", []int64{40, 8}, "C", -1, 1280},
			{"ids", "<i8", []int64{100}, "C", -1, 800},
			{"größe", record, []int64{3}, "C", -1, 36},
			{"names", "<U2", []int64{2}, "C", -1, 16},
		},
	} {
		got := must(t, name, file(t, name))
		if diff := cmp.Diff(Meta{Format: Npz, Members: want, Rewrite: true}, got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
		if got, err := Peek(file(t, name)); err != nil || !cmp.Equal(got, Meta{Format: Npz}) {
			t.Errorf("%s: Peek says %+v, %v", name, got, err)
		}
	}
}

func TestOtherZipsAreRaw(t *testing.T) {
	array := string(npy(header("'<f4'", "(3,)"), 12))
	for name, b := range map[string][]byte{
		"PyTorch":             file(t, "other.zip"),
		"one of them no npy":  zipped(t, "a.npy", array, "b.txt", array),
		"named npy, is none":  zipped(t, "a.npy", "hello world"),
		"npy and an empty":    zipped(t, "a.npy", array, "b.npy", ""),
		"cut, first no npy":   file(t, "other.zip")[:1000],
		"a folder":            zipped(t, "a.npy", array, "b.npy/", ""),
		"empty":               zipped(t),
		"only the magic":      []byte(zipMagic),
		"compressed, no data": zipped(t, "a.npy:", ""),
	} {
		if got, err := inspected(b); err != nil || !cmp.Equal(got, Meta{Format: Raw}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestDamagedNpzIsRefused(t *testing.T) {
	array := string(npy(header("'<f4'", "(3,)"), 12))
	refused(t, "objects", file(t, "object.npz"), `npz member "words": npy of Python objects (dtype O)`)
	refused(t, "twice", zipped(t, "a.npy", array, "a.npy", array), `member "a" twice`)
	refused(t, "no directory", file(t, "stored.npz")[:2000], "truncated npz: its directory")
	refused(t, "no directory, packed", file(t, "packed.npz")[:1500], "truncated npz: its directory")
	refused(t, "short array", zipped(t, "a.npy", array[:len(array)-1]), `truncated npz: member "a": npy: its header says`)
	refused(t, "short header", zipped(t, "a.npy:", array[:30]), `truncated npz: member "a": npy: it ends within its`)
	refused(t, "bad header", zipped(t, "a.npy:", string(npy("{}", 0))), `npz member "a": damaged npy header`)

	packed := zipped(t, "a.npy:", array)
	packed[zipEntry+len("a.npy")] = 0x07 // a block of type 3, which there is not
	refused(t, "damaged at its beginning", packed, `npz member "a": is damaged`)

	// An entry of the directory is found by its magic; the fields' places are those of APPNOTE 4.3.12.
	change := func(at int, values ...byte) []byte {
		b := zipped(t, "a.npy", array, "b.npy", array)
		second := bytes.LastIndex(b, []byte("PK\x01\x02"))
		copy(b[second+at:], values)
		return b
	}
	refused(t, "method", change(10, 14), `npz member "b": is compressed by method 14`)
	refused(t, "encrypted", change(8, 1), `npz member "b": is encrypted`)
	refused(t, "two sizes", change(20, 1, 0, 0, 0), `npz member "b": is stored, but has two sizes`)
	refused(t, "outside", change(20, 0, 0, 1, 0, 0, 0, 1, 0), `truncated npz: member "b": zip: it lies outside`)
	refused(t, "no header", change(42, 1), `npz member "b": has no header`)
	refused(t, "overlap", change(42, 0), `overlaps another one`)
	refused(t, "name", zipped(t, "\xff\xfe.npy", array), "name that is not UTF-8")
}

func TestRewrittenNpzHasTheSameArraysOnPages(t *testing.T) {
	array := string(npy(header("'<f4'", "(3,)"), 12))
	for name, b := range map[string][]byte{
		"stored.npz":    file(t, "stored.npz"),
		"packed.npz":    file(t, "packed.npz"),
		"empty name":    zipped(t, ".npy:", array),
		"more than one": zipped(t, "a.npy:", array+array, "b/c.npy", array),
	} {
		before := must(t, name, b)
		out := rewritten(t, name, b)
		after := must(t, name, out)
		if after.Rewrite || after.Need != 0 {
			t.Errorf("%s: %+v", name, after)
		}
		for i, m := range after.Members {
			if m.Offset%pageAlign != 0 {
				t.Errorf("%s: member %q lies at %d", name, m.Name, m.Offset)
			}
			after.Members[i].Offset = -1
		}
		if diff := cmp.Diff(before.Members, after.Members); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
		sameFiles(t, name, b, out)
		if again := rewritten(t, name, out); !bytes.Equal(again, out) {
			t.Errorf("%s: rewriting what is rewritten changes it", name)
		}
	}
}

// rewritten rewrites an npz and checks the size that was promised.
func rewritten(t testing.TB, name string, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := RewriteNpz(&out, bytes.NewReader(b), int64(len(b))); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if size, err := RewrittenSize(bytes.NewReader(b), int64(len(b))); err != nil || size != int64(out.Len()) {
		t.Errorf("%s: %d bytes were promised, %d written; %v", name, size, out.Len(), err)
	}
	return out.Bytes()
}

// sameFiles compares two zips by archive/zip, which checks sums and sizes.
func sameFiles(t testing.TB, name string, a, b []byte) {
	t.Helper()
	if x, y := unzipped(t, a), unzipped(t, b); !cmp.Equal(x, y) {
		t.Errorf("%s: the members differ:\n%s", name, cmp.Diff(x, y))
	}
}

func unzipped(t testing.TB, b []byte) (out [][2]string) {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.File {
		var content bytes.Buffer
		m, err := f.Open()
		if err == nil {
			_, err = content.ReadFrom(m)
		}
		if err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		out = append(out, [2]string{f.Name, content.String()})
	}
	return out
}
