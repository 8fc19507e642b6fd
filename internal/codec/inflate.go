// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Deflate (RFC 1951) to blocks of memory, in a goroutine of its own: it waits for input and for blocks and needs no
// state to come back to. The way of libdeflate: 56 bits at a time, one table look-up for a symbol, eight bytes at a
// time for a match.

package codec

import (
	"encoding/binary"
	"errors"
	"io"
)

const (
	window    = 32 << 10        // how far a match can reach back
	blockSize = 512 << 10       // what a block takes beside the window before it
	blockBack = 3 + 258 + 8 + 3 // an iteration's three bytes and its match, which may be written 8 bytes too far
	inputBack = 32              // an iteration reads no farther
)

// block is memory to inflate to: the last 32 KiB of the block before, the bytes, and room behind.
type block [window + blockSize + blockBack]byte

var (
	errDistance = errors.New("a match reaches back before the beginning")
	errSymbol   = errors.New("a code has no symbol")
	errBlock    = errors.New("a block header is invalid")
)

// inflater inflates one deflate stream after the other.
type inflater struct {
	src   *source
	in    []byte // the chunk at hand
	pos   int    // in in: what is not in the bits yet
	end   int    // in in: where the source ends; behind it are zeros
	eof   bool
	bits  uint64
	nbits uint // valid bits; those above are zero or what the next bytes will or in anyway
	room  [2 * chunkFront]byte

	out   *block
	fill  int // bytes in out
	floor int // in out: where this stream begins; a match may not reach before
	sent  int // in out: up to where send has seen it
	send  func(from, to int) (*block, error)

	meanings *meanings
	fixed    bool // the tables are those of the fixed code
	lit      [litSize]uint32
	dist     [distSize]uint32
	code     [codeSize]uint32
	lengths  [litSymbols + distSymbols]uint8
}

// more gets at least one byte of input more, or zeros behind its end.
func (z *inflater) more() error {
	z.unread()
	if z.eof {
		return io.ErrUnexpectedEOF // inputBack zeros are used up
	}
	var rest [chunkFront]byte
	n := copy(rest[:], z.in[z.pos:])
	c, err := z.src.next()
	switch {
	case errors.Is(err, io.EOF):
		clear(z.room[copy(z.room[:], rest[:n]):])
		z.in, z.end, z.eof = z.room[:n+chunkFront], n, true
	case err != nil:
		return err
	default:
		z.in = c.buf[chunkFront-n : chunkFront+c.n]
		z.end = len(z.in)
		copy(z.in, rest[:n])
	}
	z.pos = 0
	return nil
}

// unread gives whole bytes back that were taken into the bits.
func (z *inflater) unread() {
	z.pos -= int(z.nbits >> 3)
	z.nbits &= 7
	z.bits &= 1<<z.nbits - 1
}

// ready makes sure of inputBack bytes of input and of 56 bits.
func (z *inflater) ready() error {
	for z.pos > len(z.in)-inputBack {
		if err := z.more(); err != nil {
			return err
		}
	}
	z.bits |= binary.LittleEndian.Uint64(z.in[z.pos:]) << (z.nbits & 63)
	z.pos += int(63-z.nbits) >> 3
	z.nbits |= 56
	return nil
}

// take is the next n bits, 32 at most. Zeros behind the end are taken too: see over.
func (z *inflater) take(n uint) (uint32, error) {
	if z.nbits < n {
		if err := z.ready(); err != nil {
			return 0, err
		}
	}
	v := uint32(z.bits & (1<<n - 1))
	z.drop(n)
	return v, nil
}

// drop takes n bits that are there.
func (z *inflater) drop(n uint) {
	z.bits >>= n
	z.nbits -= n
}

// left is how many bytes of the source, as far as it was read, are still to be used. Negative: zeros behind its end were.
func (z *inflater) left() int { return z.end - z.pos + int(z.nbits>>3) }

// flush sends what was inflated, and goes on in another block.
func (z *inflater) flush() error {
	if z.left() < 0 {
		return io.ErrUnexpectedEOF
	}
	from := z.out
	next, err := z.send(z.sent, z.fill)
	if err != nil {
		return err
	}
	z.out = next
	copy(next[:window], from[z.fill-window:z.fill])
	z.floor = max(0, z.floor-(z.fill-window))
	z.fill, z.sent = window, window
	return nil
}

// stream inflates one stream. The input stands behind it, with up to seven bits that belong to its last byte.
func (z *inflater) stream() error {
	z.floor = z.fill
	for last := uint32(0); last == 0; {
		head, err := z.take(3)
		if err != nil {
			return err
		}
		last = head & 1
		switch head >> 1 {
		case 0:
			err = z.stored()
		case 1:
			if err = z.fixedTables(); err == nil {
				err = z.coded()
			}
		case 2:
			if err = z.tables(); err == nil {
				err = z.coded()
			}
		default:
			err = errBlock
		}
		if z.left() < 0 { // what was made of the zeros behind the end does not count
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// stored copies a block that is not compressed.
func (z *inflater) stored() error {
	if _, err := z.take(z.nbits & 7); err != nil {
		return err
	}
	size, err := z.take(32)
	if err != nil {
		return err
	}
	if size&0xffff != ^size>>16 {
		return errBlock
	}
	z.unread()
	for n := int(size & 0xffff); n > 0; {
		if z.fill >= window+blockSize {
			if err := z.flush(); err != nil {
				return err
			}
		}
		if z.pos >= z.end {
			if err := z.more(); err != nil {
				return err
			}
			if z.eof && z.end == 0 {
				return io.ErrUnexpectedEOF
			}
		}
		k := copy(z.out[z.fill:window+blockSize], z.in[z.pos:min(z.end, z.pos+n)])
		z.fill += k
		z.pos += k
		n -= k
	}
	return nil
}

// coded inflates a block with the codes in the tables.
func (z *inflater) coded() error {
	const litMask, distMask = 1<<litBits - 1, 1<<distBits - 1
	lit, dist := &z.lit, &z.dist
	for {
		if z.fill >= window+blockSize {
			if err := z.flush(); err != nil {
				return err
			}
		}
		for z.pos > len(z.in)-inputBack {
			if err := z.more(); err != nil {
				return err
			}
		}
		in, pos, out, fill, bits, nbits := z.in, z.pos, z.out, z.fill, z.bits, z.nbits
		var entry uint32
		var err error
		for pos <= len(in)-inputBack && fill < window+blockSize {
			bits |= binary.LittleEndian.Uint64(in[pos:]) << (nbits & 63)
			pos += int(63-nbits) >> 3
			nbits |= 56

			// Three codes of the table's width and a length or offset with its extra bits fit in 56 bits.
			entry = lit[bits&litMask]
			if entry&entryLiteral != 0 {
				bits >>= entry & entryExtraMask
				nbits -= uint(entry & entryExtraMask)
				out[fill] = byte(entry >> 16)
				fill++
				entry = lit[bits&litMask]
				if entry&entryLiteral != 0 {
					bits >>= entry & entryExtraMask
					nbits -= uint(entry & entryExtraMask)
					out[fill] = byte(entry >> 16)
					fill++
					entry = lit[bits&litMask]
					if entry&entryLiteral != 0 {
						bits >>= entry & entryExtraMask
						nbits -= uint(entry & entryExtraMask)
						out[fill] = byte(entry >> 16)
						fill++
						continue
					}
				}
			}
			if entry&entrySpecial != 0 {
				if entry&entryPointer != 0 {
					bits >>= litBits
					nbits -= litBits
					entry = lit[entry>>16&0x3fff+uint32(bits)&(1<<(entry>>8&15)-1)]
				}
				if entry&entryLiteral != 0 {
					bits >>= entry & entryExtraMask
					nbits -= uint(entry & entryExtraMask)
					out[fill] = byte(entry >> 16)
					fill++
					continue
				}
				if entry&entrySpecial != 0 {
					bits >>= entry & entryExtraMask
					nbits -= uint(entry & entryExtraMask)
					err = errSymbol
					if entry&entryEnd != 0 {
						err = io.EOF
					}
					break
				}
			}
			length := int(entry>>16) + int(bits&(1<<(entry&entryExtraMask)-1)>>(entry>>8&15))
			bits >>= entry & entryExtraMask
			nbits -= uint(entry & entryExtraMask)

			bits |= binary.LittleEndian.Uint64(in[pos:]) << (nbits & 63)
			pos += int(63-nbits) >> 3
			nbits |= 56
			entry = dist[bits&distMask]
			if entry&entrySpecial != 0 {
				if entry&entryPointer != 0 {
					bits >>= distBits
					nbits -= distBits
					entry = dist[entry>>16&0x3fff+uint32(bits)&(1<<(entry>>8&15)-1)]
				}
				if entry&entrySpecial != 0 {
					err = errSymbol
					break
				}
			}
			back := int(entry>>16) + int(bits&(1<<(entry&entryExtraMask)-1)>>(entry>>8&15))
			bits >>= entry & entryExtraMask
			nbits -= uint(entry & entryExtraMask)
			if back > fill-z.floor {
				err = errDistance
				break
			}
			from, to := fill-back, fill+length
			step := min(back, 8) // of a match that overlaps itself, only so many bytes are there yet
			for {
				v := binary.LittleEndian.Uint64(out[from:])
				binary.LittleEndian.PutUint64(out[fill:], v)
				fill += step
				from += step
				if fill >= to {
					break
				}
			}
			fill = to
		}
		z.pos, z.fill, z.bits, z.nbits = pos, fill, bits, nbits
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
