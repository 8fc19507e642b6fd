// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package codec

import (
	"errors"
	"math/bits"
	"math/rand/v2"
	"testing"
)

func TestOnlyWholeCodesAreTaken(t *testing.T) {
	meaning := newMeanings().lit[:]
	for _, c := range []struct {
		name    string
		lengths []uint8
		ok      bool
	}{
		{"none", []uint8{0, 0}, true},
		{"one of one bit", []uint8{0, 1}, true},
		{"one of two bits", []uint8{0, 2}, false},
		{"whole", []uint8{1, 2, 3, 3}, true},
		{"whole and long", []uint8{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 15}, true},
		{"incomplete", []uint8{2, 2, 2}, false},
		{"over-subscribed", []uint8{1, 1, 1}, false},
		{"over-subscribed and long", []uint8{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 15, 15}, false},
	} {
		var table [litSize]uint32
		err := build(table[:], litBits, c.lengths, meaning)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, errCodes) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// Any whole code of as many symbols as there can be fits its table and its subtables, and each of its symbols is found.
func TestEachSymbolOfAnyCodeIsFound(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for _, c := range []struct{ symbols, longest, width, size int }{
		{litSymbols, maxCode, litBits, litSize},
		{distSymbols, maxCode, distBits, distSize},
		{codeSymbols, 7, codeBits, codeSize},
	} {
		meaning, table := make([]uint32, c.symbols), make([]uint32, c.size)
		for i := range meaning {
			meaning[i] = uint32(i) << 16
		}
		for range 1000 {
			lengths := randomCode(random, 2+random.IntN(c.symbols-1), c.longest)
			if err := build(table, c.width, lengths, meaning); err != nil {
				t.Fatalf("%v: %v", lengths, err)
			}
			code := 0
			for l := 1; l <= c.longest; l++ {
				for symbol, length := range lengths {
					if int(length) != l {
						continue
					}
					input := int(bits.Reverse16(uint16(code)) >> (16 - l))
					if got, taken := lookUp(table, c.width, input|random.IntN(2)<<l); got != symbol || taken != l {
						t.Fatalf("%v: symbol %d of %d bits is found as %d of %d", lengths, symbol, l, got, taken)
					}
					code++
				}
				code <<= 1
			}
		}
	}
}

// randomCode is the lengths of a whole code, made by splitting the codes of fewer symbols, more or less evenly.
func randomCode(random *rand.Rand, symbols, longest int) []uint8 {
	lengths := []uint8{1, 1}
	for skew := random.Float64(); len(lengths) < symbols; {
		i := random.IntN(len(lengths))
		if random.Float64() < skew {
			i = len(lengths) - 1
		}
		if int(lengths[i]) < longest {
			lengths[i]++
			lengths = append(lengths, lengths[i])
		} else {
			skew = 0
		}
	}
	random.Shuffle(len(lengths), func(i, k int) { lengths[i], lengths[k] = lengths[k], lengths[i] })
	return lengths
}

// lookUp decodes as the inflater does.
func lookUp(table []uint32, width, input int) (symbol, taken int) {
	entry := table[input&(1<<width-1)]
	if entry&entryPointer != 0 && entry&entrySpecial != 0 {
		taken = width
		entry = table[int(entry>>16&0x3fff)+input>>width&(1<<(entry>>8&15)-1)]
	}
	return int(entry >> 16), taken + int(entry&entryExtraMask)
}
