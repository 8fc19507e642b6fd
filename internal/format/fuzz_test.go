// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package format

// One fuzz target for each parser. The seeds are the files that the libraries wrote; what fuzzing found beyond them and
// is worth keeping lies in testdata/fuzz.

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	gocmp "github.com/google/go-cmp/cmp"
)

// check holds what must be true of every content.
func check(t *testing.T, b []byte) (Meta, error) {
	t.Helper()
	meta, err := inspected(b)
	head := b[:min(len(b), PeekSize)]
	for _, n := range []int{len(head), len(head) / 2, len(head) / 3} {
		switch peeked, peekErr := Peek(head[:n]); {
		case errors.Is(peekErr, ErrTruncated), errors.Is(peekErr, errShort):
			t.Fatalf("Peek of %d bytes calls it truncated: %v", n, peekErr)
		case peekErr != nil && err == nil:
			t.Fatalf("Peek of %d bytes refuses %+v: %v", n, meta, peekErr)
		case peekErr == nil && (peeked.Format == "" || peeked.Need < 0),
			peekErr == nil && err == nil && peeked.Need > 0 && peeked.Need != meta.Need:
			t.Fatalf("Peek of %d bytes says %+v, Inspect %+v, %v", n, peeked, meta, err)
		}
	}
	if err != nil {
		if text := err.Error(); text == "" || len(text) > 4096 || !utf8.ValidString(text) || errors.Is(err, errShort) {
			t.Fatalf("error of %d bytes: %.1000q", len(text), text)
		}
		return meta, err
	}
	if meta.Format == "" || meta.Need < 0 || meta.Need > int64(len(b)) {
		t.Fatalf("of %d bytes: %+v", len(b), meta)
	}
	for _, f := range meta.Schema {
		if !utf8.ValidString(f.Name) || !utf8.ValidString(f.Type) || f.Type == "" {
			t.Fatalf("field %+v", f)
		}
	}
	members := slices.Clone(meta.Members)
	slices.SortStableFunc(members, func(a, b Member) int { return cmp.Compare(a.Offset, b.Offset) })
	end := int64(8) // no format has less in front of its data
	for _, m := range members {
		switch {
		case !utf8.ValidString(m.Name) || m.DType == "" || m.Shape == nil || m.Order == "" || m.Size < 0:
			t.Fatalf("%+v", m)
		case meta.Rewrite && m.Offset == -1:
		case meta.Rewrite || m.Offset < end || m.Size > int64(len(b))-m.Offset:
			t.Fatalf("%+v begins before %d or ends behind %d", m, end, len(b))
		default:
			end = m.Offset + m.Size
		}
	}
	return meta, nil
}

func seed(f *testing.F, names ...string) {
	f.Helper()
	for _, name := range names {
		f.Add(file(f, name))
	}
}

func FuzzNpy(f *testing.F) {
	seed(f, "plain.npy", "record.npy")
	for _, h := range []string{header("'<f4'", "(3, 4)"), header("[('a', '<f4', (2,)), (('t','n'), '|O')]", "()"), "{"} {
		f.Add(npy(h, 48))
		f.Add(npyVersion(2, h, 48))
		f.Add(npyVersion(3, h, 48))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		meta, err := check(t, b)
		if !bytes.HasPrefix(b, []byte(npyMagic)) || err != nil {
			return
		}
		if meta.Format != Npy || meta.Offset < 10 || meta.Offset > meta.Need || meta.Shape == nil || meta.DType == "" {
			t.Fatalf("%+v", meta)
		}
		if again, err := Peek(b[:meta.Offset]); err != nil || !gocmp.Equal(again, meta) {
			t.Fatalf("the header alone reads as %+v, %v", again, err)
		}
	})
}

func FuzzDict(f *testing.F) {
	for _, text := range []string{
		header("'<f4'", "(3, 4)"), header(`[("it's", '<f4'), ('\'', '<i8', (2,))]`, "(1L,)"), "{'a': [True, -1]}",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		fields, err := parseDict(text)
		if err != nil {
			return
		}
		for key, item := range fields {
			if item.value == nil || !strings.Contains(text, item.text) {
				t.Fatalf("%q: %+v", key, item)
			}
		}
	})
}

func FuzzNpz(f *testing.F) {
	seed(f, "stored.npz", "packed.npz", "object.npz", "other.zip")
	array := string(npy(header("'<f4'", "(3,)"), 12))
	small := zipped(f, "a.npy", array, "b.npy:", array)
	f.Add(small)
	f.Add(rewritten(f, "small", small))
	f.Fuzz(func(t *testing.T, b []byte) {
		meta, err := check(t, b)
		if err != nil || meta.Format != Npz {
			return
		}
		size, err := RewrittenSize(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if RewriteNpz(&out, bytes.NewReader(b), int64(len(b))) != nil {
			return // the data is damaged, which Inspect does not read
		}
		if int64(out.Len()) != size {
			t.Fatalf("%d bytes were promised, %d written", size, out.Len())
		}
		after, err := check(t, out.Bytes())
		if err != nil || after.Rewrite || len(after.Members) != len(meta.Members) {
			t.Fatalf("rewritten, it is %+v, %v", after, err)
		}
		for i, m := range after.Members {
			want := meta.Members[i]
			if want.Offset = m.Offset; !gocmp.Equal(m, want) || m.Offset%pageAlign != 0 {
				t.Fatalf("rewritten, %+v is %+v", meta.Members[i], m)
			}
		}
		for i, m := range unzipped(t, out.Bytes()) {
			if len(m[1]) < int(after.Members[i].Size) {
				t.Fatalf("%q has %d bytes", m[0], len(m[1]))
			}
		}
	})
}

func FuzzSafetensors(f *testing.F) {
	seed(f, "plain.safetensors", "empty.safetensors")
	f.Add(tensors(`{"a":{"dtype":"F4","shape":[2],"data_offsets":[0,1]},`+
		`"b":{"dtype":"X","shape":[],"data_offsets":[1,2]}}`, 2))
	f.Fuzz(func(t *testing.T, b []byte) {
		meta, err := check(t, b)
		if err != nil || meta.Format != Safetensors {
			return
		}
		sum := int64(0)
		for _, m := range meta.Members {
			sum += m.Size
		}
		header := meta.Need - sum
		if meta.Need != int64(len(b)) || len(meta.Members) > 0 && meta.Members[0].Offset != header {
			t.Fatalf("%d bytes do not cover %d: %+v", sum, len(b), meta)
		}
	})
}

func FuzzArrow(f *testing.F) {
	seed(f, "types.arrow", "types.arrows", "plain.arrow", "lz4.arrow", "zstd.arrows", "old.arrow")
	f.Fuzz(func(t *testing.T, b []byte) {
		meta, err := check(t, b)
		if err == nil && meta.Format == Arrow && !bytes.HasSuffix(b, []byte(arrowEnd)) {
			t.Fatalf("%+v", meta)
		}
	})
}

func FuzzPk5(f *testing.F) {
	seed(f, "array.pk5", "table.pk5", "plain.pk5")
	f.Add(bundle(300, 128, 4, 0, 192, 40, 1, 256, 44, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		meta, err := check(t, b)
		if err == nil && bytes.HasPrefix(b, []byte(pk5Magic)) && (meta.Format != Pk5 || meta.Need != int64(len(b))) {
			t.Fatalf("%+v", meta)
		}
	})
}

// FuzzInspect begins with everything there is, hints included.
func FuzzInspect(f *testing.F) {
	seed(f, "plain.npy", "packed.npz", "plain.safetensors", "plain.arrow", "types.arrows", "plain.pk5", "table.csv",
		"table.tsv", "pretty.json", "table.jsonl", "table.parquet", "protocol2.pickle", "protocol5.pickle",
		"array.joblib", "table.sqlite")
	f.Fuzz(func(t *testing.T, b []byte) {
		meta, err := check(t, b)
		size := int64(len(b))
		again, againErr := Inspect(io.NewSectionReader(bytes.NewReader(append([]byte{0}, b...)), 1, size), size)
		if !gocmp.Equal(meta, again) || (err == nil) != (againErr == nil) {
			t.Fatalf("%+v, %v; by another reader %+v, %v", meta, err, again, againErr)
		}
	})
}
