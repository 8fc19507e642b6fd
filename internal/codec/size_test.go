// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package codec

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestDecodedSizeIsKnownWhereTheContainerStatesIt(t *testing.T) {
	path, contents := filepath.Join(t.TempDir(), "content"), contents()
	for _, c := range []struct {
		packer packer // packs the file, not its standard input
		ok     bool
	}{
		{packer{Gzip, "gzip"}, false},
		{packer{Zstd, "zstd"}, true},
		{packer{Zstd, "zstd --no-check -1"}, true},
		{packer{Zstd, "zstd --no-content-size"}, false},
		{packer{Zstd, "pzstd"}, false},
		{packer{XZ, "xz -0"}, true},
		{packer{XZ, "xz -0 -T2 --block-size=65536 --check=none"}, true},
		{packer{LZ4, "lz4 --content-size"}, true},
		{packer{LZ4, "lz4 --content-size -BD -BX -B4"}, true},
		{packer{LZ4, "lz4"}, false},
		{packer{LZ4, "lz4 -l"}, false},
	} {
		for _, name := range []string{"nothing", "a byte", "table", "zeros"} {
			content := contents[name]
			t.Run(c.packer.command+"/"+name, func(t *testing.T) {
				if err := os.WriteFile(path, content, 0o600); err != nil {
					t.Fatal(err)
				}
				file := packer{c.packer.kind, c.packer.command + " " + path}
				one := file.pack(t, nil)
				three := bytes.Join([][]byte{one, one, one}, nil)
				for packed, want := range map[string]int64{string(one): int64(len(content)), string(three): 3 * int64(len(content))} {
					got, ok := DecodedSize(c.packer.kind, bytes.NewReader([]byte(packed)), int64(len(packed)))
					if !c.ok || c.packer.kind == LZ4 && len(content) == 0 { // lz4 states no size of 0
						want = 0
					}
					if got != want || ok != c.ok && len(content) > 0 {
						t.Errorf("%d bytes: %d, %v, want %d, %v", len(packed), got, ok, want, c.ok)
					}
				}
			})
		}
	}
}

func TestDecodedSizeOfXZKnowsPaddingAndStreams(t *testing.T) {
	content := []byte("some content\n")
	stream := packer{XZ, "xz"}.pack(t, content)
	for _, c := range []struct {
		parts []string
		want  int64 // -1: unknown
	}{
		{[]string{"stream", "\x00\x00\x00\x00", "stream", "\x00\x00\x00\x00\x00\x00\x00\x00"}, 26},
		{[]string{"stream", "\x00\x00"}, -1},
		{[]string{"stream", "x"}, -1},
		{[]string{"\x00\x00\x00\x00", "stream"}, -1},
		{[]string{"\x00\x00\x00\x00"}, -1},
		{[]string{"x", "stream"}, -1},
		{nil, -1},
	} {
		var packed []byte
		for _, part := range c.parts {
			if part == "stream" {
				part = string(stream)
			}
			packed = append(packed, part...)
		}
		got, ok := DecodedSize(XZ, bytes.NewReader(packed), int64(len(packed)))
		if ok != (c.want >= 0) || ok && got != c.want {
			t.Errorf("%q: %d, %v", c.parts, got, ok)
		}
	}
}

func TestDecodedSizeSaysNothingOfWhatIsCutShort(t *testing.T) {
	for _, file := range []string{"sized.zst", "one.xz", "sized.lz4"} {
		packed, err := os.ReadFile(filepath.Join("testdata/packed", file))
		if err != nil {
			t.Fatal(err)
		}
		kind := Detect(packed)
		if _, ok := DecodedSize(kind, bytes.NewReader(packed), int64(len(packed))); !ok {
			t.Errorf("%s: unknown", file)
		}
		for n := range packed {
			if got, ok := DecodedSize(kind, bytes.NewReader(packed[:n]), int64(n)); ok {
				t.Errorf("%s, %d of %d bytes: %d", file, n, len(packed), got)
			}
		}
	}
}
