// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// gzip (RFC 1952): members one after the other, each a deflate stream between a header and its checksum. They are
// inflated ahead of use.

package codec

import (
	"errors"
	"hash/crc32"
	"io"
)

const blockCount = 4 // blocks in flight between the inflater and the caller

var (
	errHeader   = errors.New("a header is invalid")
	errChecksum = errors.New("wrong checksum")
	errTrailing = errors.New("something else follows the data")
)

// piece is what the inflater hands to the caller: bytes of a block, or the end.
type piece struct {
	block *block
	data  []byte
	err   error
}

// gunzip inflates all members in a goroutine of its own.
type gunzip struct {
	full    chan piece
	free    chan *block
	stopped chan struct{}
	now     piece
}

func newGunzip(src *source) *gunzip {
	g := &gunzip{
		full:    make(chan piece, blockCount+1), // all blocks and the end: only a want of free blocks stops the inflater
		free:    make(chan *block, blockCount),
		stopped: src.stopped,
	}
	for range blockCount {
		g.free <- nil
	}
	go g.inflate(src)
	return g
}

// Read implements io.Reader.
func (g *gunzip) Read(p []byte) (int, error) {
	for len(g.now.data) == 0 {
		if g.now.err != nil {
			return 0, g.now.err
		}
		if g.now.block != nil {
			g.free <- g.now.block
		}
		g.now = <-g.full
	}
	n := copy(p, g.now.data)
	g.now.data = g.now.data[n:]
	return n, nil
}

// close waits for the goroutine; the source has been stopped.
func (g *gunzip) close() {
	for g.now.err == nil {
		g.now = <-g.full
	}
}

// inflate is the goroutine. Its last piece is an error, io.EOF if all was well.
func (g *gunzip) inflate(src *source) {
	m := members{inflater: inflater{src: src, meanings: newMeanings()}}
	m.send = func(from, to int) (*block, error) {
		m.sum(from, to)
		g.full <- piece{block: m.out, data: m.out[from:to]}
		return g.block()
	}
	err := m.run(g.block)
	if errors.Is(err, io.EOF) {
		g.full <- piece{block: m.out, data: m.out[m.sent:m.fill]}
	}
	g.full <- piece{err: err}
}

// block waits for a block that nobody uses.
func (g *gunzip) block() (*block, error) {
	select {
	case <-g.stopped:
		return nil, errClosed
	case b := <-g.free:
		if b == nil {
			b = new(block)
		}
		return b, nil
	}
}

// members reads one member after the other.
type members struct {
	inflater
	crc    uint32
	size   uint32
	summed int // in out: up to where the sums go
}

// sum takes what was inflated into the checksum.
func (m *members) sum(from, to int) {
	from = max(from, m.summed)
	m.crc = crc32.Update(m.crc, crc32.IEEETable, m.out[from:to])
	m.size += uint32(to - from)
	m.summed = 0 // the next block's are all new
}

func (m *members) run(first func() (*block, error)) error {
	var err error
	if m.out, err = first(); err != nil {
		return err
	}
	m.fill, m.sent = window, window
	for n := 0; ; n++ {
		more, err := m.another(n == 0)
		if err != nil {
			return err
		}
		if !more {
			return io.EOF
		}
		m.crc, m.size, m.summed = 0, 0, m.fill
		if err := m.stream(); err != nil {
			return err
		}
		if err := m.trailer(); err != nil {
			return err
		}
	}
}

// another reads the next member's header. Behind the last member may be zeros, as on tapes.
func (m *members) another(first bool) (bool, error) {
	for zeros := false; ; zeros = true {
		if err := m.ready(); err != nil {
			return false, err
		}
		switch {
		case first:
			return true, m.header(errHeader)
		case m.eof && m.left() <= 0:
			return false, nil
		case m.bits&0xff == 0:
			m.drop(8)
		case zeros:
			return false, errTrailing
		default:
			return true, m.header(errTrailing)
		}
	}
}

// header reads a member's first ten bytes, and what else they announce. Without the magic: other.
func (m *members) header(other error) error {
	var head [10]byte
	for i := range len(gzipMagic) - 1 { // byte by byte: what is no gzip is not called truncated
		if err := m.bytes(head[i : i+1]); err != nil {
			return err
		}
		if head[i] != gzipMagic[i] {
			return other
		}
	}
	if err := m.bytes(head[2:]); err != nil {
		return err
	}
	if head[2] != gzipMagic[2] || head[3] >= 1<<5 {
		return errHeader
	}
	return m.options(head[:])
}

// options reads what a header may have beside its first ten bytes.
func (m *members) options(head []byte) error {
	const checksum, extra, name, comment = 1 << 1, 1 << 2, 1 << 3, 1 << 4
	flags := head[3]
	crc := crc32.ChecksumIEEE(head)
	var b [2]byte
	skip := func(n int, untilZero bool) error {
		for ; n > 0; n-- {
			if err := m.bytes(b[:1]); err != nil {
				return err
			}
			crc = crc32.Update(crc, crc32.IEEETable, b[:1])
			if untilZero && b[0] == 0 {
				return nil
			}
		}
		if untilZero {
			return errHeader
		}
		return nil
	}
	if flags&extra != 0 {
		if err := m.bytes(b[:]); err != nil {
			return err
		}
		crc = crc32.Update(crc, crc32.IEEETable, b[:])
		if err := skip(int(b[0])|int(b[1])<<8, false); err != nil {
			return err
		}
	}
	for _, flag := range []byte{name, comment} {
		if flags&flag != 0 {
			if err := skip(1<<20, true); err != nil {
				return err
			}
		}
	}
	if flags&checksum != 0 {
		want := uint16(crc)
		if err := m.bytes(b[:]); err != nil {
			return err
		}
		if uint16(b[0])|uint16(b[1])<<8 != want {
			return errHeader
		}
	}
	return nil
}

// trailer compares the sums.
func (m *members) trailer() error {
	m.sum(m.sent, m.fill)
	m.summed = m.fill
	if _, err := m.take(m.nbits & 7); err != nil {
		return err
	}
	crc, err := m.take(32)
	if err != nil {
		return err
	}
	size, err := m.take(32)
	if err != nil {
		return err
	}
	if m.left() < 0 {
		return io.ErrUnexpectedEOF
	}
	if crc != m.crc || size != m.size {
		return errChecksum
	}
	return nil
}

// bytes reads whole bytes; the input stands between two.
func (m *members) bytes(p []byte) error {
	for i := range p {
		v, err := m.take(8)
		if err != nil {
			return err
		}
		p[i] = byte(v)
	}
	if m.left() < 0 {
		return io.ErrUnexpectedEOF
	}
	return nil
}
