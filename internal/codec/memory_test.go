// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package codec

import (
	"bytes"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestMemoryIsWhatTheFirstHeaderSays(t *testing.T) {
	content := contents()["table"]
	path := filepath.Join(t.TempDir(), "content")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	size := int64(len(content))
	for _, c := range []struct {
		packer packer
		beside int64 // windows, dictionaries and blocks
		least  int64
	}{
		{packer{Gzip, "gzip"}, 0, 0},
		{packer{Zstd, "zstd -1 " + path}, 512 << 10, size},
		{packer{Zstd, "zstd -9 " + path}, size, size}, // in a single segment
		{packer{Zstd, "zstd -1"}, 512 << 10, 0},
		{packer{Zstd, "zstd -1 --long=27"}, 128 << 20, 0},
		{packer{Zstd, "zstd -1 --long=31"}, 2 << 30, 0},
		{packer{XZ, "xz -0"}, 2 * 256 << 10, 0},
		{packer{XZ, "xz -9"}, 2 * 64 << 20, 0},
		{packer{XZ, "xz -0 -T2 --block-size=300KiB"}, 2 * 256 << 10, 0}, // with its sizes in the block's header
		{packer{XZ, "xz --delta --lzma2=preset=0"}, 0, 0},               // not unpacked
		{packer{LZ4, "lz4 -B4"}, lz4Blocks * 64 << 10, 0},
		{packer{LZ4, "lz4 -B7"}, lz4Blocks * 1 << 20, 0}, // not larger than it takes
		{packer{LZ4, "lz4 -l"}, lz4Blocks * 8 << 20, 0},
	} {
		packed := c.packer.pack(t, content)
		head := packed[:min(MemoryHead, len(packed))]
		if got := Memory(c.packer.kind, head); got != smallMemory+c.beside {
			t.Errorf("%s: %d beside, want %d", c.packer.command, got-smallMemory, c.beside)
		}
		if got := AtLeast(c.packer.kind, head); got != c.least {
			t.Errorf("%s: at least %d, want %d", c.packer.command, got, c.least)
		}
		if c.packer.kind == Zstd {
			head = append([]byte("\x5a\x2a\x4d\x18\x04\x00\x00\x00size"), head...)
			if got := Memory(Zstd, head); got != smallMemory+c.beside {
				t.Errorf("%s behind a skippable frame: %d beside, want %d", c.packer.command, got-smallMemory, c.beside)
			}
		}
	}
}

func TestMemoryTakesAnyHead(t *testing.T) {
	huge := append([]byte(zstdMagic), 0xe0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	if got := Memory(Zstd, huge); got != math.MaxInt64 || AtLeast(Zstd, huge) != math.MaxInt64 {
		t.Errorf("a frame of 16 EiB takes %d", got)
	}
	for _, head := range [][]byte{
		huge, packer{XZ, "xz -0 -T2 --block-size=300KiB"}.pack(t, bytes.Repeat([]byte("x"), 1<<20)),
		[]byte(lz4Magic + "\x60\x70\x73"), []byte("\x50\x2a\x4d\x18\xff\xff\xff\xff" + zstdMagic),
	} {
		for n := range head {
			for _, kind := range []Kind{None, Gzip, Zstd, XZ, LZ4, "other"} {
				if got := Memory(kind, head[:n]); got < 0 || AtLeast(kind, head[:n]) < 0 {
					t.Errorf("%s, %d bytes: %d", kind, n, got)
				}
			}
		}
	}
}

func TestALaterWindowIsHeldToWhatTheFirstSaid(t *testing.T) {
	content := bytes.Repeat(contents()["table"], 20)
	small, usual := packer{Zstd, "zstd -1"}.pack(t, content[:1000]), packer{Zstd, "zstd -9"}.pack(t, content)
	large := packer{Zstd, "zstd -1 --long=27"}.pack(t, content)
	for _, c := range []struct {
		first, second []byte
		ok            bool
	}{{small, usual, true}, {large, usual, true}, {large, large, true}, {usual, large, false}} {
		whole := slices.Concat(c.first, c.second)
		d, err := NewReaderWithin(Zstd, bytes.NewReader(whole), Memory(Zstd, whole[:MemoryHead]))
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, d)
		if c.ok != (err == nil) || err != nil && !strings.Contains(err.Error(), "larger window than may be used") {
			t.Errorf("%d bytes, %v", n, err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}
