// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// The codes of a deflate block: the fixed ones, and those that the block begins with.

package codec

import "errors"

var (
	errSymbols  = errors.New("a block has too many symbols")
	errNoEnd    = errors.New("a block has no code for its end")
	errNoRepeat = errors.New("a code length is repeated before there is one, or too often")
)

func (z *inflater) fixedTables() error {
	if z.fixed {
		return nil
	}
	l := &z.lengths
	for i := range litSymbols {
		switch {
		case i < 144:
			l[i] = 8
		case i < 256:
			l[i] = 9
		case i < 280:
			l[i] = 7
		default:
			l[i] = 8
		}
	}
	for i := range distSymbols {
		l[litSymbols+i] = 5
	}
	if err := build(z.lit[:], litBits, l[:litSymbols], z.meanings.lit[:]); err != nil {
		return err
	}
	if err := build(z.dist[:], distBits, l[litSymbols:], z.meanings.dist[:]); err != nil {
		return err
	}
	z.fixed = true
	return nil
}

// tables reads the codes of a block: how many there are, the code of their lengths, the lengths.
func (z *inflater) tables() error {
	z.fixed = false
	head, err := z.take(14)
	if err != nil {
		return err
	}
	nlit, ndist, ncode := 257+int(head&31), 1+int(head>>5&31), 4+int(head>>10)
	if nlit > 286 || ndist > 30 {
		return errSymbols
	}
	var codeLengths [codeSymbols]uint8
	order := [codeSymbols]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
	for _, i := range order[:ncode] {
		v, err := z.take(3)
		if err != nil {
			return err
		}
		codeLengths[i] = uint8(v)
	}
	if err := build(z.code[:], codeBits, codeLengths[:], z.meanings.code[:]); err != nil {
		return err
	}
	if err := z.readLengths(z.lengths[:nlit+ndist]); err != nil {
		return err
	}
	if z.lengths[256] == 0 {
		return errNoEnd
	}
	if err := build(z.lit[:], litBits, z.lengths[:nlit], z.meanings.lit[:]); err != nil {
		return err
	}
	return build(z.dist[:], distBits, z.lengths[nlit:nlit+ndist], z.meanings.dist[:])
}

func (z *inflater) readLengths(lengths []uint8) error {
	for i := 0; i < len(lengths); {
		if z.nbits < codeBits+7 { // a code and its extra bits
			if err := z.ready(); err != nil {
				return err
			}
		}
		entry := z.code[z.bits&(1<<codeBits-1)]
		if entry&entrySpecial != 0 {
			return errSymbol
		}
		z.drop(uint(entry & entryExtraMask))
		symbol := uint8(entry >> 16)
		if symbol < 16 {
			lengths[i] = symbol
			i++
			continue
		}
		var value uint8
		least, extra := 3, uint(3)
		switch symbol {
		case 16:
			extra = 2
			if i == 0 {
				return errNoRepeat
			}
			value = lengths[i-1]
		case 18:
			least, extra = 11, 7
		}
		v, err := z.take(extra)
		if err != nil {
			return err
		}
		n := least + int(v)
		if n > len(lengths)-i {
			return errNoRepeat
		}
		for range n {
			lengths[i] = value
			i++
		}
	}
	return nil
}
