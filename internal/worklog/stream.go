// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package worklog

// One stream of one worker: its bytes become lines.

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"time"
	"unicode/utf8"
)

type stream struct {
	log                 *Log
	worker, incarnation int
	name                string // stdout or stderr
	prefix              string
	partial             []byte // of a line whose end has not come yet
	closed              bool
}

func newStream(l *Log, worker, incarnation int, name string) *stream {
	return &stream{
		log: l, worker: worker, incarnation: incarnation, name: name,
		prefix: fmt.Sprintf("worker %d.%d %s ", worker, incarnation, name[len("std"):]),
	}
}

// Write takes all of p, whatever the error: that is the writer's, and what it did not take is lost.
func (s *stream) Write(p []byte) (int, error) {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	if s.closed {
		return 0, os.ErrClosed
	}
	now := s.log.now()
	var failed error
	for rest := p; len(rest) > 0; {
		text, after, ended := bytes.Cut(rest, []byte{'\n'})
		failed = errors.Join(failed, s.add(now, text, ended))
		rest = after
	}
	return len(p), errors.Join(failed, s.log.flush())
}

// Close writes the last line when no newline came after it.
func (s *stream) Close() error {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	defer s.log.open.Done()
	if len(s.partial) == 0 {
		return nil
	}
	err := s.put(s.log.now(), s.partial, false)
	s.partial = nil
	return errors.Join(err, s.log.flush())
}

// add takes a piece of a line; ended: its newline came behind it.
func (s *stream) add(now time.Time, text []byte, ended bool) error {
	line := text
	if len(s.partial) > 0 {
		s.partial = append(s.partial, text...)
		line = s.partial
	}
	var failed error
	for len(line) > maxLine {
		n := cut(line)
		failed = errors.Join(failed, s.put(now, line[:n], false))
		line = line[n:]
	}
	if !ended {
		s.partial = append(s.partial[:0], line...)
		return failed
	}
	failed = errors.Join(failed, s.put(now, line, true))
	if s.partial = s.partial[:0]; cap(s.partial) > keep {
		s.partial = nil
	}
	return failed
}

// cut returns where a line that is too long is cut: not inside a character, so that text stays text.
func cut(line []byte) int {
	for n := maxLine; n > maxLine-utf8.UTFMax; n-- {
		if utf8.RuneStart(line[n]) {
			return n
		}
	}
	return maxLine
}

// put appends a line in its format to what is pending, and writes that when it is enough.
func (s *stream) put(now time.Time, line []byte, ended bool) error {
	if s.log.format == JSON {
		s.putJSON(now, line, ended)
	} else {
		s.putPrefixed(line, ended)
	}
	if s.log.pending.Len() < batch {
		return nil
	}
	return s.log.flush()
}
