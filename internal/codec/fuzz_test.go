// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package codec

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

// fuzzOutput bounds what a target unpacks.
const fuzzOutput = 8 << 20

// packed adds the files of testdata/packed to a target.
func packed(f *testing.F, add func(data []byte, kind Kind)) {
	f.Helper()
	files, err := filepath.Glob("testdata/packed/*")
	if err != nil || len(files) < 10 {
		f.Fatalf("%d files in testdata/packed, %v: testdata/pack.sh makes them", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		add(data, Detect(data))
	}
}

// tooMuch tells whether the content asks for so much memory that a target would measure only that: a zstd window or an xz
// dictionary of gigabytes.
func tooMuch(data []byte) bool {
	for i := range data {
		if bytes.HasPrefix(data[i:], []byte(zstdMagic)) && i+5 < len(data) && data[i+4]&(1<<5) == 0 && data[i+5]>>3 > 14 {
			return true
		}
		if i+2 < len(data) && data[i] == 0x21 && data[i+1] == 1 && data[i+2] > 22 {
			return true
		}
	}
	return false
}

func FuzzDetectAndDecode(f *testing.F) {
	packed(f, func(data []byte, _ Kind) { f.Add(data) })
	f.Fuzz(func(t *testing.T, data []byte) {
		kind := Detect(data)
		if kind == None || tooMuch(data) {
			return
		}
		before := goleak.IgnoreCurrent()
		r, err := NewReader(kind, bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.CopyN(io.Discard, r, fuzzOutput)
		if _, again := r.Read(make([]byte, 1)); err != nil && !errors.Is(again, err) {
			t.Errorf("Read: %v, and once more: %v", err, again)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if err := goleak.Find(before); err != nil {
			t.Error(err)
		}
	})
}

func FuzzDecodedSize(f *testing.F) {
	packed(f, func(data []byte, _ Kind) { f.Add(data) })
	f.Fuzz(func(t *testing.T, data []byte) {
		kind := Detect(data)
		want, ok := DecodedSize(kind, bytes.NewReader(data), int64(len(data)))
		if !ok || want > fuzzOutput || tooMuch(data) {
			return
		}
		r, err := NewReader(kind, bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = r.Close() }()
		if n, err := io.Copy(io.Discard, io.LimitReader(r, fuzzOutput+1)); err == nil && n != want {
			t.Errorf("%s: %d bytes stated, %d unpacked", kind, want, n)
		}
	})
}

// FuzzInflate holds the inflater against compress/flate: the same bytes, the same end, the same refusals.
func FuzzInflate(f *testing.F) {
	packed(f, func(data []byte, kind Kind) {
		if kind == Gzip {
			f.Add(data[10:])
		}
	})
	for _, text := range []string{"", "aaaaaaaaaaaaaaaaaaaaaaaaaaaa", "abcabcabcabcabcabcabc and something else"} {
		for _, level := range []int{flate.NoCompression, flate.HuffmanOnly, flate.BestCompression} {
			var b bytes.Buffer
			w, err := flate.NewWriter(&b, level)
			if err != nil {
				f.Fatal(err)
			}
			if _, err := io.WriteString(w, text); err != nil {
				f.Fatal(err)
			}
			if err := w.Close(); err != nil {
				f.Fatal(err)
			}
			f.Add(b.Bytes())
		}
	}
	for _, stream := range []string{
		"\x03\x00",             // fixed codes, nothing in it
		"\x03\x02\x00",         // a match before there is anything
		"\x01\x00\x00\xff\xff", // stored, nothing in it
		"\x01\x00\x00\x00\x00", // stored, sizes that do not agree
		"\x07",                 // no such block
	} {
		f.Add([]byte(stream))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in := bytes.NewReader(data) // an io.ByteReader: flate reads no byte too many
		std := flate.NewReader(in)
		want, wantErr := io.ReadAll(io.LimitReader(std, fuzzOutput))
		if len(want) == fuzzOutput {
			return
		}
		got, rest, err := inflate(data)
		if errors.Is(err, errNoEnd) { // which flate finds when it gets there, as the end of its input
			if wantErr == nil {
				t.Fatal("a block without a code for its end was inflated")
			}
			return
		}
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%v, want %v", err, wantErr)
		}
		if err == nil && (!bytes.Equal(got, want) || rest != in.Len()) {
			t.Errorf("%d bytes and %d left, want %d and %d, or others", len(got), rest, len(want), in.Len())
		}
	})
}

// inflate is one deflate stream, and how much of data lies behind.
func inflate(data []byte) (out []byte, rest int, err error) {
	src := newSource(bytes.NewReader(data))
	defer src.stop()
	z := inflater{src: src, out: new(block), fill: window, sent: window, meanings: newMeanings()}
	z.send = func(from, to int) (*block, error) {
		out = append(out, z.out[from:to]...)
		return new(block), nil
	}
	err = z.stream()
	if err == nil {
		out = append(out, z.out[z.sent:z.fill]...)
		rest = z.left()
	}
	return out, rest, err
}
