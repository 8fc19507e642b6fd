// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// Finding the mappings of a segment in /proc/PID/maps, by device and inode: the name of a memfd is anybody's choice.

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// mapping is one mapped range of a file: addresses [start, end), from byte offset of the file on.
type mapping struct {
	start, end, offset uint64
	dev, ino           uint64
	shared             bool // MAP_SHARED: its pages are never copied by writing
}

// appendMappings appends the mappings in text for which want says yes, by rising address.
func appendMappings(dst []mapping, text []byte, want func(dev, ino uint64) bool) []mapping {
	for len(text) > 0 {
		var line []byte
		line, text, _ = bytes.Cut(text, []byte{'\n'})
		if m, ok := parseMapping(line); ok && m.ino != 0 && want(m.dev, m.ino) {
			dst = append(dst, m)
		}
	}
	return dst
}

// parseMapping reads one line such as
//
//	7f0c4a000000-7f0c8a000000 r--s 00000000 00:01 2051    /memfd:emb (deleted)
func parseMapping(line []byte) (mapping, bool) {
	var m mapping
	var ok bool
	if m.start, line, ok = number(line, 16, '-'); !ok {
		return m, false
	}
	if m.end, line, ok = number(line, 16, ' '); !ok || m.end <= m.start {
		return m, false
	}
	if len(line) < 5 || line[4] != ' ' {
		return m, false
	}
	m.shared, line = line[3] == 's', line[5:]
	if m.offset, line, ok = number(line, 16, ' '); !ok {
		return m, false
	}
	var major, minor uint64
	if major, line, ok = number(line, 16, ':'); !ok || major > 1<<32-1 {
		return m, false
	}
	if minor, line, ok = number(line, 16, ' '); !ok || minor > 1<<32-1 {
		return m, false
	}
	m.dev = unix.Mkdev(uint32(major), uint32(minor))
	m.ino, _, ok = number(line, 10, ' ') // the name may be missing, the space never is
	return m, ok
}

// number reads a number in base 10 or 16 that ends with the byte end, and returns what follows it.
func number(text []byte, base uint64, end byte) (value uint64, rest []byte, ok bool) {
	for i, c := range text {
		var digit uint64
		switch {
		case c == end:
			return value, text[i+1:], i > 0
		case c >= '0' && c <= '9':
			digit = uint64(c - '0')
		case base == 16 && c >= 'a' && c <= 'f':
			digit = uint64(c-'a') + 10
		default:
			return 0, nil, false
		}
		if value > (1<<64-1-digit)/base {
			return 0, nil, false
		}
		value = value*base + digit
	}
	return 0, nil, false
}
