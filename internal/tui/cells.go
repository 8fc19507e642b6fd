// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package tui

// Cells: how a value is written, and columns that line up.

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dustin/go-humanize"

	"github.com/preforkd/preforkd/supervisor"
)

// Dash stands for a value that is not known.
const Dash = "–"

// The few ANSI sequences in use.
const (
	bold   = "1"
	red    = "31"
	green  = "32"
	yellow = "33"
)

// table is a block of rows under a head. left marks with '1' the columns that are aligned to the left; paint colours a
// column after it was aligned.
type table struct {
	head  []string
	left  string
	rows  [][]string
	paint map[int]func(string) string
}

func (t *table) add(cells ...string) {
	for i := range cells {
		cells[i] = Line(cells[i])
	}
	t.rows = append(t.rows, cells)
}

// table writes an empty line and the table.
func (p *page) table(t *table) {
	widths := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], length(cell))
		}
	}
	p.printf("\n")
	p.row(t.head, widths, t.left, nil)
	for _, row := range t.rows {
		p.row(row, widths, t.left, t.paint)
	}
}

func (p *page) row(cells []string, widths []int, left string, paint map[int]func(string) string) {
	var line strings.Builder
	for i, cell := range cells {
		pad := strings.Repeat(" ", widths[i]-length(cell))
		if color := paint[i]; color != nil {
			cell = color(cell)
		}
		if i > 0 {
			line.WriteString("  ")
		}
		if left[i] == '1' {
			line.WriteString(cell + pad)
		} else {
			line.WriteString(pad + cell)
		}
	}
	p.printf("%s\n", strings.TrimRight(line.String(), " "))
}

func (p *page) paint(code, text string) string {
	if !p.color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (p *page) status(text string) string {
	switch supervisor.Status(text) {
	case supervisor.StatusReady:
		return p.paint(green, text)
	case supervisor.StatusStarting, supervisor.StatusStopping:
		return p.paint(yellow, text)
	case supervisor.StatusBackoff:
		return p.paint(red, text)
	}
	return text
}

func length(s string) int { return utf8.RuneCountInString(s) }

// Line makes text from outside safe to print: one line, no escape sequence.
func Line(text string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}

// Bytes writes a number of bytes as "1.5 GiB"; nil is a Dash.
func Bytes(n *int64) string {
	switch {
	case n == nil:
		return Dash
	case *n < 0:
		return "-" + humanize.IBytes(uint64(-*n))
	}
	return humanize.IBytes(uint64(*n))
}

// progress is what is loaded, of how much where that is known.
func progress(loaded int64, size *int64) string {
	if size == nil {
		return Bytes(&loaded)
	}
	return fmt.Sprintf("%s/%s", Bytes(&loaded), Bytes(size))
}

func count(n *int) string {
	if n == nil {
		return Dash
	}
	return strconv.Itoa(*n)
}

func age(seconds *float64) string {
	if seconds == nil {
		return Dash
	}
	return Duration(*seconds)
}

// Duration writes seconds with their two largest units: "42s", "3m07s", "5h02m", "9d04h".
func Duration(seconds float64) string {
	s := int64(math.Max(0, seconds))
	minute, hour, day := int64(60), int64(3600), int64(24*time.Hour/time.Second)
	switch {
	case s < minute:
		return fmt.Sprintf("%ds", s)
	case s < hour:
		return fmt.Sprintf("%dm%02ds", s/minute, s%minute)
	case s < day:
		return fmt.Sprintf("%dh%02dm", s/hour, s%hour/minute)
	}
	return fmt.Sprintf("%dd%02dh", s/day, s%day/hour)
}
