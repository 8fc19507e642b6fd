// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// output writes preforkd's own lines to a file that may not take them: a full pipe that nobody reads must not hold up the
// supervisor. Lines wait in a bounded queue; beyond it they are dropped, and the number of them is told.
type output struct {
	mu      sync.Mutex // of closed
	closed  bool
	lines   chan []byte
	flushed chan struct{}
	lost    atomic.Int64
}

// waiting is how many lines may wait.
const waiting = 1024

func newOutput(w io.Writer) *output {
	o := &output{lines: make(chan []byte, waiting), flushed: make(chan struct{})}
	go func() {
		defer close(o.flushed)
		for line := range o.lines {
			_, _ = w.Write(line)
			if lost := o.lost.Swap(0); lost > 0 {
				fmt.Fprintf(w, "preforkd: %d lines are missing here: this output was not taken in time\n", lost)
			}
		}
	}()
	return o
}

// Write takes one line, or several; it never blocks and never fails. After close it drops them.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return len(p), nil
	}
	select {
	case o.lines <- append([]byte(nil), p...):
	default:
		o.lost.Add(1)
	}
	return len(p), nil
}

// close waits until all is written, up to patience.
func (o *output) close(patience time.Duration) {
	o.mu.Lock()
	o.closed = true
	close(o.lines)
	o.mu.Unlock()
	select {
	case <-o.flushed:
	case <-time.After(patience):
	}
}
