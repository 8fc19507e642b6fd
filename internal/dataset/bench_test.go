// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"context"
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// A load can be no faster than its digest on a machine with one spare CPU: compare the two figures.
func BenchmarkLoad(b *testing.B) {
	const size = 256 << 20
	path := filepath.Join(b.TempDir(), "data.bin")
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	block := make([]byte, 1<<20)
	for i := range size / len(block) {
		for k := range block {
			block[k] = byte(k * (i + 3) >> 7)
		}
		if _, err := f.Write(block); err != nil {
			b.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}

	b.Run("file", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			loaded, err := new(Loader).Load(context.Background(), []Spec{{"x", path}})
			if err != nil {
				b.Fatal(err)
			}
			if err := loaded[0].Segment.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("command", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			l := &Loader{Start: startCommand}
			loaded, err := l.Load(context.Background(), []Spec{{"x", "cmd:cat '" + path + "'"}})
			if err != nil {
				b.Fatal(err)
			}
			if err := loaded[0].Segment.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("sha256-of-memory", func(b *testing.B) {
		b.SetBytes(size)
		h := sha256.New()
		for b.Loop() {
			for range size / len(block) {
				h.Write(block)
			}
		}
	})
	b.Run("sha256-of-file", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			f, err := os.Open(path)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.CopyBuffer(struct{ io.Writer }{sha256.New()}, struct{ io.Reader }{f}, block); err != nil {
				b.Fatal(err)
			}
			_ = f.Close()
		}
	})
}
