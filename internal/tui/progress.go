// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package tui

// The steps of something that takes a while.

import (
	"fmt"
	"io"
)

// Progress shows one step after the other: on a terminal on one line that changes, elsewhere on a line each. Its methods
// are for one goroutine. What cannot be written is not missed.
type Progress struct {
	w     io.Writer
	width int
	last  string
}

// NewProgress returns a Progress on w. width is that of the terminal in columns; 0: w is not one.
func NewProgress(w io.Writer, width int) *Progress { return &Progress{w: w, width: width} }

// Show shows a step; nothing happens when it is the one that is shown. A line that is too long for a terminal is cut off,
// because one that wraps cannot be replaced.
func (p *Progress) Show(step string) {
	step = Line(step)
	if step == p.last {
		return
	}
	p.last = step
	if p.width == 0 {
		fmt.Fprintln(p.w, step)
		return
	}
	if letters := []rune(step); len(letters) >= p.width {
		step = string(letters[:p.width-1])
	}
	fmt.Fprint(p.w, "\r\x1b[K"+step)
}

// End takes the changing line off the terminal.
func (p *Progress) End() {
	if p.width > 0 && p.last != "" {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
	p.last = ""
}
