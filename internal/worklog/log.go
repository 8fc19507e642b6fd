// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package worklog

// The log that all workers share, and its end.

import (
	"bytes"
	"io"
	"sync"
	"time"
)

// Format is how lines are written. The values are those of --log-workers.
type Format string

// The formats.
const (
	Prefix Format = "prefix" // worker 3.2 out | text
	JSON   Format = "json"   // one object a line
)

const (
	// maxLine is the longest text of a line that is not cut.
	maxLine = 1 << 20
	// batch is how much is written by one call, unless one line alone is longer.
	batch = 64 << 10
	// keep is how large a buffer may be to be used again.
	keep = 256 << 10
)

// Log writes the lines of all workers to one writer.
type Log struct {
	format Format
	now    func() time.Time
	open   sync.WaitGroup // streams

	mu      sync.Mutex // of the writer: held while it takes its time
	to      io.Writer
	pending bytes.Buffer // whole lines in their format
}

// New makes a log. now is the clock of the JSON lines. Errors of the writer are those of the streams' Write.
func New(to io.Writer, format Format, now func() time.Time) *Log {
	return &Log{to: to, format: format, now: now}
}

// Capture returns what one incarnation of a worker writes its streams to; both must be closed. A stream is for one goroutine
// at a time. Capture itself never waits.
func (l *Log) Capture(worker, incarnation int) (stdout, stderr io.WriteCloser) {
	l.open.Add(2)
	return newStream(l, worker, incarnation, "stdout"), newStream(l, worker, incarnation, "stderr")
}

// Drain waits until every stream is closed, all its lines written, and no longer than patience. No worker may be captured
// any more. It tells whether all came out.
func (l *Log) Drain(patience time.Duration) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.open.Wait()
	}()
	select {
	case <-done:
		return true
	case <-time.After(patience):
		return false
	}
}

// flush writes what is pending. The caller holds l.mu.
func (l *Log) flush() error {
	if l.pending.Len() == 0 {
		return nil
	}
	_, err := l.to.Write(l.pending.Bytes())
	if l.pending.Reset(); l.pending.Cap() > keep {
		l.pending = bytes.Buffer{}
	}
	return err
}
