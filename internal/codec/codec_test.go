// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package codec

import (
	"strings"
	"testing"
)

func TestDetectByTheFirstBytes(t *testing.T) {
	pzstd := "\x50\x2a\x4d\x18\x04\x00\x00\x00\xaa\xbb\xcc\xdd"
	for _, c := range []struct {
		head string
		want Kind
	}{
		{"", None},
		{"\x1f\x8b", None},
		{"\x1f\x8b\x08\x00\x00\x00", Gzip},
		{"\x1f\x8b\x07\x00\x00\x00", None},
		{"\x28\xb5\x2f\xfd\x04\x00", Zstd},
		{pzstd[:6], Zstd},
		{pzstd + "\x28\xb5\x2f\xfd", Zstd},
		{pzstd + "\x04\x22\x4d\x18", LZ4},
		{pzstd + pzstd + "\x04\x22\x4d\x18", LZ4},
		{pzstd + "\x1f\x8b\x08\x00", None},
		{pzstd + "text", None},
		{"\x5f\x2a\x4d\x18\xff\xff\xff\xff", Zstd},
		{"\xfd7zXZ\x00", XZ},
		{"\xfd7zXZ", None},
		{"\x04\x22\x4d\x18\x64\x40", LZ4},
		{"\x02\x21\x4c\x18\x00\x00", LZ4},
		{"\x93NUMPY", None},
		{"PK\x03\x04\x14\x00", None},
	} {
		if got := Detect([]byte(c.head)); got != c.want {
			t.Errorf("Detect(%q) = %q, want %q", c.head, got, c.want)
		}
	}
}

func TestParseTakesTheNamesAndNamesThemOtherwise(t *testing.T) {
	for name, want := range map[string]Kind{"none": None, "gzip": Gzip, "zstd": Zstd, "xz": XZ, "lz4": LZ4} {
		if got, err := Parse(name); err != nil || got != want {
			t.Errorf("Parse(%q) = %q, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "auto", "GZIP", "bzip2"} {
		if got, err := Parse(name); err == nil || got != None || !strings.Contains(err.Error(), "none, gzip, zstd, xz or lz4") {
			t.Errorf("Parse(%q) = %q, %v", name, got, err)
		}
	}
}

func TestTrimSuffixTakesOnlyTheSuffixOfTheKind(t *testing.T) {
	for _, c := range []struct {
		name string
		kind Kind
		want string
	}{
		{"emb.npy.zst", Zstd, "emb.npy"},
		{"emb.npy.ZST", Zstd, "emb.npy"},
		{"/data/emb.npy.gz", Gzip, "/data/emb.npy"},
		{"a.xz", XZ, "a"},
		{"a.lz4", LZ4, "a"},
		{"a.gz", Zstd, "a.gz"},
		{"a.gz", None, "a.gz"},
		{".gz", Gzip, ".gz"},
		{"/data/.gz", Gzip, "/data/.gz"},
		{"agz", Gzip, "agz"},
		{"", XZ, ""},
	} {
		if got := TrimSuffix(c.name, c.kind); got != c.want {
			t.Errorf("TrimSuffix(%q, %q) = %q, want %q", c.name, c.kind, got, c.want)
		}
	}
}

func TestOnlyXZIsSlow(t *testing.T) {
	for _, kind := range []Kind{None, Gzip, Zstd, LZ4} {
		if text := Slow(kind); text != "" {
			t.Errorf("Slow(%q) = %q", kind, text)
		}
	}
	if Slow(XZ) == "" {
		t.Error("xz is not slow")
	}
}
