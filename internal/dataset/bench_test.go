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

// A load of a file in the page cache against plain reads of it, and against what its digest would cost.
func BenchmarkLoad(b *testing.B) {
	const size = 1 << 30
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
			loaded, err := new(Loader).Load(context.Background(), []Spec{{Name: "x", Source: path}})
			if err != nil {
				b.Fatal(err)
			}
			if err := loaded[0].Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("command", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			l := &Loader{Start: startCommand}
			loaded, err := l.Load(context.Background(), []Spec{{Name: "x", Source: "cmd:cat '" + path + "'"}})
			if err != nil {
				b.Fatal(err)
			}
			if err := loaded[0].Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
	for name, to := range map[string]io.Writer{"read": io.Discard, "sha256": sha256.New()} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				f, err := os.Open(path)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{f}, block); err != nil {
					b.Fatal(err)
				}
				_ = f.Close()
			}
		})
	}
}
