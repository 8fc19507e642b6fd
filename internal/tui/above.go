// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package tui

// Lines above the bars.

import (
	"io"
	"strings"
)

// maxHeld is how much of a line without an end is held back.
const maxHeld = 64 << 10

// above writes to the terminal of bars, above them while they are shown.
type above struct {
	bars *Bars
	held string // of a line whose end has not come; under the mutex of bars
}

// Log returns a writer for text that shall not tear the bars. While they are shown it holds a line back until its end comes;
// else it writes at once. Each source of text needs its own.
func (b *Bars) Log() io.Writer {
	a := &above{bars: b}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.logs = append(b.logs, a)
	return a
}

// Write implements io.Writer.
func (a *above) Write(p []byte) (int, error) {
	b := a.bars
	if b.over.Load() {
		return b.w.Write(p)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.progress == nil {
		return b.w.Write(p)
	}
	a.held += string(p)
	if len(a.held) > maxHeld {
		a.held += "\n"
	}
	end := strings.LastIndexByte(a.held, '\n') + 1
	if end == 0 {
		return len(p), nil
	}
	text := a.held[:end]
	a.held = a.held[end:]
	_, err := io.WriteString(b.progress, text)
	if err != nil { // it has stopped: the terminal failed
		_, err = io.WriteString(b.w, text)
	}
	return len(p), err
}
