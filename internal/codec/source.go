// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Reading the source ahead of the decoder, in a goroutine of its own.

package codec

import (
	"errors"
	"io"
)

const (
	chunkSize  = 1 << 20  // what one Read of the source is asked for
	firstChunk = 64 << 10 // the same for one of the chunks: small sources need no more
	chunkCount = 4        // chunks in flight
	chunkFront = 64       // room before the data, for what the inflater has left of the chunk before
)

// errClosed is what everything that waits gets after Close.
var errClosed = errors.New("cannot read: the decoder is closed")

// chunk is a piece of the source in buf[chunkFront:chunkFront+n], or the source's last word.
type chunk struct {
	buf []byte
	n   int
	err error
}

// source reads r ahead. Its methods are for one goroutine at a time, stop and failure apart.
type source struct {
	full    chan chunk
	free    chan []byte
	stopped chan struct{}

	now  chunk
	rest []byte // of now, not read yet
	err  error  // the source's last word, io.EOF too

	taken int64 // bytes of all chunks so far
}

func newSource(r io.Reader) *source {
	s := &source{
		full:    make(chan chunk, chunkCount),
		free:    make(chan []byte, chunkCount),
		stopped: make(chan struct{}),
	}
	for range chunkCount {
		s.free <- nil // allocated when first used
	}
	go s.pump(r)
	return s
}

// pump is the goroutine. It sends at most chunkCount chunks and one error more than were taken, so that only r and a
// want of free chunks block it.
func (s *source) pump(r io.Reader) {
	defer close(s.full)
	size := firstChunk
	for empty := 0; empty < 100; {
		var buf []byte
		select {
		case <-s.stopped:
			return
		case buf = <-s.free:
		}
		if buf == nil {
			buf = make([]byte, chunkFront+size)
			size = chunkSize
		}
		n, err := r.Read(buf[chunkFront:])
		if n > 0 || err != nil {
			empty = 0
			s.full <- chunk{buf, n, err}
		} else {
			empty++
			s.free <- buf
		}
		if err != nil {
			return
		}
	}
	s.full <- chunk{err: io.ErrNoProgress}
}

// next gives the current chunk back and waits for another, which is valid until the call after. After the last there is
// only the error.
func (s *source) next() (chunk, error) {
	if s.now.buf != nil {
		s.free <- s.now.buf
		s.now = chunk{}
	}
	if s.err != nil {
		return chunk{}, s.err
	}
	select {
	case <-s.stopped: // first, for a stop shall win over chunks that are there
		s.err = errClosed
		return chunk{}, s.err
	default:
	}
	select {
	case <-s.stopped:
		s.err = errClosed
	case c, ok := <-s.full:
		if s.now, s.err = c, c.err; !ok {
			s.err = errClosed // the pump saw the stop first
		}
	}
	if s.now.n == 0 {
		return chunk{}, s.err
	}
	s.taken += int64(s.now.n)
	return s.now, nil
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		c, err := s.next()
		if err != nil {
			return 0, err
		}
		s.rest = c.buf[chunkFront : chunkFront+c.n]
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// failure is the error of the source itself, nil if it has not ended yet or ended well. It may be asked for when no
// other goroutine reads.
func (s *source) failure() error {
	if s.err == io.EOF { //nolint:errorlint // what wraps it is a failure
		return nil
	}
	return s.err
}

// stop ends all waiting; once.
func (s *source) stop() { close(s.stopped) }

// wait waits for the goroutine to end, which r's next Read brings about after a stop.
func (s *source) wait() {
	for range s.full {
	}
}
