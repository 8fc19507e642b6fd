// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// The containers, their names, and how they are told apart.

package codec

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

// Kind is a container: what the bytes of a source are packed with.
type Kind string

// The containers. The texts are those that --data-opt NAME.codec= takes, None apart, which is "none" there.
const (
	None Kind = ""
	Gzip Kind = "gzip"
	Zstd Kind = "zstd"
	XZ   Kind = "xz"
	LZ4  Kind = "lz4"
)

// HeadSize is how many bytes of the beginning Detect needs.
const HeadSize = 6

const (
	gzipMagic      = "\x1f\x8b\x08" // with the one method there is
	zstdMagic      = "\x28\xb5\x2f\xfd"
	xzMagic        = "\xfd7zXZ\x00"
	lz4Magic       = "\x04\x22\x4d\x18"
	lz4LegacyMagic = "\x02\x21\x4c\x18"
)

// Detect says by its first bytes what the content is packed with. A shorter head than HeadSize is no error: what it does
// not prove is None. zstd and lz4 have the same skippable frames, which pzstd begins with: Detect looks behind them as
// far as head goes, and takes them for zstd if it ends there (NewReader looks again).
func Detect(head []byte) Kind {
	skipped := false
	for ; skippable(head); skipped = true {
		if len(head) < 8 {
			return Zstd
		}
		skip := 8 + uint64(binary.LittleEndian.Uint32(head[4:]))
		if uint64(len(head)) < skip+4 {
			return Zstd
		}
		head = head[skip:]
	}
	for _, c := range []struct {
		magic string
		kind  Kind
	}{{zstdMagic, Zstd}, {lz4Magic, LZ4}, {lz4LegacyMagic, LZ4}, {gzipMagic, Gzip}, {xzMagic, XZ}} {
		if bytes.HasPrefix(head, []byte(c.magic)) && (!skipped || c.kind == Zstd || c.kind == LZ4) {
			return c.kind
		}
	}
	return None
}

// skippable tells whether a skippable frame of zstd and lz4 begins here: magic 0x184D2A50 to 0x184D2A5F, then its size in
// four bytes.
func skippable(head []byte) bool {
	return len(head) >= 4 && head[0]&0xf0 == 0x50 && string(head[1:4]) == "\x2a\x4d\x18"
}

// Parse is the container of a name: none, gzip, zstd, xz, lz4.
func Parse(name string) (Kind, error) {
	switch k := Kind(name); k {
	case "none":
		return None, nil
	case Gzip, Zstd, XZ, LZ4:
		return k, nil
	default:
		return None, fmt.Errorf("cannot unpack %q: use none, gzip, zstd, xz or lz4", name)
	}
}

// TrimSuffix takes the suffix that the container's program adds off a file name: emb.npy.zst is emb.npy. Other names
// stay as they are.
func TrimSuffix(name string, kind Kind) string {
	var suffixes []string
	switch kind {
	case Gzip:
		suffixes = []string{".gz", ".bgz", ".gzip"}
	case Zstd:
		suffixes = []string{".zst", ".zstd"}
	case XZ:
		suffixes = []string{".xz"}
	case LZ4:
		suffixes = []string{".lz4"}
	case None:
	}
	for _, suffix := range suffixes {
		stem := len(name) - len(suffix)
		if stem > 0 && name[stem-1] != '/' && strings.EqualFold(name[stem:], suffix) {
			return name[:stem]
		}
	}
	return name
}

// Slow is one sentence for the log about a container that cannot be unpacked fast, "" for the others.
func Slow(kind Kind) string {
	if kind == XZ {
		return "xz is unpacked at about 30 MB/s: pack with zstd, which is 15 times faster, " +
			"or let the program do it, cmd:xz -dc FILE, at 70"
	}
	return ""
}
