// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// The decoding tables of deflate (RFC 1951), in the layout of libdeflate: one look-up gives the symbol's meaning and how
// many bits it takes.

package codec

import (
	"errors"
	"math/bits"
)

// An entry of a table is one of
//
//	literal         31: 1 · 23..16: the byte                            · 7..0: bits of the code
//	length, offset  30..16: base · 11..8: bits of the code alone        · 7..0: bits of code and extra bits together
//	end of block    15: 1 · 13: 1                                       · 7..0: bits of the code
//	pointer         30..16: where the subtable begins · 15: 1 · 14: 1 · 11..8: log2 of its size · 7..0: bits of the table
//	no such code    15: 1, and neither 14 nor 13
//
// In a subtable the bits of the code are those that the table before has not taken.
const (
	entryLiteral   = 1 << 31
	entrySpecial   = 1 << 15
	entryPointer   = 1 << 14
	entryEnd       = 1 << 13
	entryExtraMask = 0x3f // of the lowest field: no entry takes more than 28 bits, and & 63 makes Go's shifts one instruction
)

// The widths of the tables, and how many entries they and all their subtables can need: what zlib's enough.c finds for
// that many symbols, that width and codes of 15 bits at most.
const (
	litBits, litSize   = 11, 2342
	distBits, distSize = 8, 402
	codeBits, codeSize = 7, 128
)

const (
	litSymbols  = 288
	distSymbols = 32
	codeSymbols = 19
	maxCode     = 15
)

var errCodes = errors.New("a Huffman code is over-subscribed or incomplete")

// meanings are the entries of all symbols but for the bits of their codes.
type meanings struct {
	lit  [litSymbols]uint32
	dist [distSymbols]uint32
	code [codeSymbols]uint32
}

func newMeanings() *meanings {
	var m meanings
	for i := range m.lit {
		switch {
		case i < 256:
			m.lit[i] = entryLiteral | uint32(i)<<16
		case i == 256:
			m.lit[i] = entrySpecial | entryEnd
		default:
			m.lit[i] = entrySpecial
		}
	}
	base := uint32(3)
	for i := range uint32(28) { // symbols 257 to 284: four of each number of extra bits, the first eight have none
		extra := max(i/4, 1) - 1
		m.lit[257+i] = base<<16 | extra
		base += 1 << extra
	}
	m.lit[285] = 258 << 16
	base = 1
	for i := range m.dist {
		if i >= 30 {
			m.dist[i] = entrySpecial
			continue
		}
		extra := max(uint32(i)/2, 1) - 1
		m.dist[i] = base<<16 | extra
		base += 1 << extra
	}
	for i := range m.code {
		m.code[i] = uint32(i) << 16
	}
	return &m
}

// build fills the table with the canonical code whose lengths these are, one for each meaning; 0: the symbol has none. A
// code may be incomplete only if it has one symbol of one bit or none at all, as zlib has it.
func build(table []uint32, width int, lengths []uint8, meaning []uint32) error {
	var count, next [maxCode + 1]int
	for _, l := range lengths {
		count[l]++
	}
	used := len(lengths) - count[0]
	count[0] = 0
	left := 1
	for l := 1; l <= maxCode; l++ {
		next[l] = next[l-1] + count[l-1]
		if left = left<<1 - count[l]; left < 0 {
			return errCodes
		}
	}
	if left > 0 {
		if used > 1 || used == 1 && count[1] != 1 {
			return errCodes
		}
		for i := range table[:1<<width] {
			table[i] = entrySpecial
		}
	}
	var sorted [litSymbols]uint16 // symbols by length, then by number: the order of their codes
	for symbol, l := range lengths {
		if l > 0 {
			sorted[next[l]] = uint16(symbol)
			next[l]++
		}
	}

	code, length := uint(0), 0 // of the symbol at hand
	prefix, start, log := -1, 0, 0
	end := 1 << width
	for _, symbol := range sorted[:used] {
		if l := int(lengths[symbol]); l > length {
			code <<= l - length
			length = l
		}
		reversed := int(bits.Reverse16(uint16(code)) >> (16 - length))
		code++
		if length <= width {
			entry := meaning[symbol] + uint32(length)<<8 + uint32(length)
			for i := reversed; i < 1<<width; i += 1 << length {
				table[i] = entry
			}
			count[length]--
			continue
		}
		if p := reversed & (1<<width - 1); p != prefix {
			// A subtable is as wide as the codes need that share this prefix: they are the next ones.
			prefix, start, log = p, end, length-width
			for space := count[length]; space < 1<<log; {
				log++
				space = space<<1 + count[width+log]
			}
			end += 1 << log
			table[p] = uint32(start)<<16 | entrySpecial | entryPointer | uint32(log)<<8 | uint32(width)
		}
		tail := length - width
		entry := meaning[symbol] + uint32(tail)<<8 + uint32(tail)
		for i := reversed >> width; i < 1<<log; i += 1 << tail {
			table[start+i] = entry
		}
		count[length]--
	}
	return nil
}
