// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// What a terminal makes of the bytes that it gets: as much of xterm as bubbletea uses. What it does not know fails the test
// by what is then on the screen.

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// emulator is a screen of cells that are one column wide.
type emulator struct {
	columns, rows int
	cells, main   [][]rune // main is kept while the alternate screen is shown
	alternate     bool
	x, y          int
	top, bottom   int // the region that scrolls
	pending       bool
	last          rune
	wrapped       int             // lines that went on on the next one
	modes         map[string]bool // private modes that are set and other than at the start
	rest          []byte          // of a sequence that is not complete
}

func newEmulator(columns, rows int) emulator {
	e := emulator{modes: map[string]bool{}}
	e.resize(columns, rows)
	return e
}

func (e *emulator) resize(columns, rows int) {
	old := e.cells
	e.columns, e.rows, e.cells = columns, rows, blank(columns, rows)
	for y := range min(len(old), rows) {
		copy(e.cells[y], old[y])
	}
	e.top, e.bottom, e.pending = 0, rows-1, false
	e.x, e.y = min(e.x, columns-1), min(e.y, rows-1)
}

func blank(columns, rows int) [][]rune {
	cells := make([][]rune, rows)
	for y := range cells {
		cells[y] = []rune(strings.Repeat(" ", columns))
	}
	return cells
}

func (e *emulator) String() string {
	lines := make([]string, len(e.cells))
	for y, row := range e.cells {
		lines[y] = strings.TrimRight(string(row), " ")
	}
	return strings.Join(lines, "\n")
}

// write takes output and returns what the terminal answers.
func (e *emulator) write(p []byte) (answer []byte) {
	e.rest = append(e.rest, p...)
	for len(e.rest) > 0 {
		n := 1
		switch b := e.rest[0]; {
		case b == 0x1b:
			var reply string
			if n, reply = e.escape(e.rest); n == 0 {
				return answer
			}
			answer = append(answer, reply...)
		case b < 0x20:
			e.control(b)
		default:
			if !utf8.FullRune(e.rest) {
				return answer
			}
			r, size := utf8.DecodeRune(e.rest)
			n = size
			e.put(r)
		}
		e.rest = e.rest[n:]
	}
	return answer
}

func (e *emulator) control(b byte) {
	e.pending = false
	switch b {
	case '\r':
		e.x = 0
	case '\n':
		e.down()
	case '\b':
		e.x = max(0, e.x-1)
	case '\t':
		e.x = min(e.columns-1, e.x/8*8+8)
	}
}

func (e *emulator) put(r rune) {
	if e.pending {
		e.wrapped++
		e.x, e.pending = 0, false
		e.down()
	}
	e.cells[e.y][e.x], e.last = r, r
	if e.x == e.columns-1 {
		e.pending = true
	} else {
		e.x++
	}
}

func (e *emulator) down() {
	if e.y == e.bottom {
		e.scroll(e.top, 1)
	} else {
		e.y = min(e.y+1, e.rows-1)
	}
}

// scroll moves the lines from one to the end of the region up by n, or down where n is negative.
func (e *emulator) scroll(from, n int) {
	region := e.cells[from : e.bottom+1]
	for range min(max(n, -n), len(region)) {
		empty := blank(e.columns, 1)[0]
		if n > 0 {
			copy(region, region[1:])
			region[len(region)-1] = empty
		} else {
			copy(region[1:], region)
			region[0] = empty
		}
	}
}

// escape takes one sequence and returns its length, 0 when it is not complete.
func (e *emulator) escape(p []byte) (n int, answer string) {
	if len(p) < 2 {
		return 0, ""
	}
	switch p[1] {
	case '[':
		end := slices.IndexFunc(p[2:], func(b byte) bool { return b >= 0x40 && b <= 0x7e })
		if end < 0 {
			return 0, ""
		}
		return end + 3, e.sequence(string(p[2:end+2]), p[end+2])
	case ']', 'P', '_', '^': // strings
		for i := 2; i < len(p); i++ {
			if p[i] == 7 {
				return i + 1, ""
			}
			if p[i] == 0x1b && i+1 < len(p) {
				return i + 2, ""
			}
		}
		return 0, ""
	case 'M':
		if e.y == e.top {
			e.scroll(e.top, -1)
		} else {
			e.y = max(0, e.y-1)
		}
	case 'D':
		e.down()
	case '(', ')':
		return min(3, len(p)) / 3 * 3, ""
	}
	return 2, ""
}

// sequence does a control sequence: CSI parameters final.
func (e *emulator) sequence(parameters string, final byte) (answer string) {
	if private, ok := strings.CutPrefix(parameters, "?"); ok {
		return e.mode(private, final)
	}
	if strings.ContainsAny(parameters, "<=>$ !") {
		return "" // keyboards, cursors
	}
	var numbers []int
	for part := range strings.SplitSeq(parameters, ";") {
		n, _ := strconv.Atoi(part)
		numbers = append(numbers, n)
	}
	n := max(1, numbers[0])
	if final != 'm' {
		e.pending = false
	}
	row := e.cells[e.y]
	switch final {
	case 'A':
		e.y = max(0, e.y-n)
	case 'B', 'e':
		e.y = min(e.rows-1, e.y+n)
	case 'C', 'a':
		e.x = min(e.columns-1, e.x+n)
	case 'D':
		e.x = max(0, e.x-n)
	case 'E':
		e.x, e.y = 0, min(e.rows-1, e.y+n)
	case 'F':
		e.x, e.y = 0, max(0, e.y-n)
	case 'G', '`':
		e.x = min(e.columns, n) - 1
	case 'd':
		e.y = min(e.rows, n) - 1
	case 'H', 'f':
		e.y, e.x = min(e.rows, n)-1, min(e.columns, max(1, append(numbers, 1)[1]))-1
	case 'I':
		for range n {
			e.control('\t')
		}
	case 'Z':
		for range n {
			e.x = max(0, (e.x-1)/8*8)
		}
	case 'J':
		e.eraseScreen(numbers[0])
	case 'K':
		from, to := e.x, e.columns
		if numbers[0] > 0 {
			from = 0
		}
		if numbers[0] == 1 {
			to = e.x + 1
		}
		clearCells(row[from:to])
	case 'X':
		clearCells(row[e.x:min(e.columns, e.x+n)])
	case '@':
		n = min(n, e.columns-e.x)
		copy(row[e.x+n:], row[e.x:])
		clearCells(row[e.x : e.x+n])
	case 'P':
		n = min(n, e.columns-e.x)
		copy(row[e.x:], row[e.x+n:])
		clearCells(row[e.columns-n:])
	case 'L':
		e.scroll(e.y, -n)
	case 'M':
		e.scroll(e.y, n)
	case 'S':
		e.scroll(e.top, n)
	case 'T':
		e.scroll(e.top, -n)
	case 'b':
		for range n {
			e.put(e.last)
		}
	case 'r':
		e.top, e.bottom = n-1, e.rows-1
		if len(numbers) > 1 && numbers[1] > 0 {
			e.bottom = min(numbers[1], e.rows) - 1
		}
		e.x, e.y = 0, 0
	}
	return ""
}

func (e *emulator) eraseScreen(how int) {
	for y := range e.rows {
		switch {
		case how >= 2 || how == 0 && y > e.y || how == 1 && y < e.y:
			clearCells(e.cells[y])
		case y == e.y && how == 0:
			clearCells(e.cells[y][e.x:])
		case y == e.y:
			clearCells(e.cells[y][:e.x+1])
		}
	}
}

func clearCells(row []rune) {
	for i := range row {
		row[i] = ' '
	}
}

// mode sets, resets or is asked for private modes.
func (e *emulator) mode(names string, final byte) (answer string) {
	if asked, ok := strings.CutSuffix(names, "$"); ok && final == 'p' {
		if asked == "2026" { // output that appears at once
			return fmt.Sprintf("\x1b[?%s;2$y", asked)
		}
		return fmt.Sprintf("\x1b[?%s;0$y", asked)
	}
	if final != 'h' && final != 'l' {
		return ""
	}
	for name := range strings.SplitSeq(names, ";") {
		set := final == 'h'
		switch name {
		case "1049":
			if set && !e.alternate {
				e.main, e.cells = e.cells, blank(e.columns, e.rows)
			} else if !set && e.alternate {
				e.cells = blank(e.columns, e.rows)
				for y := range min(len(e.main), e.rows) {
					copy(e.cells[y], e.main[y])
				}
			}
			e.alternate = set
		case "25", "7": // set from the start
			e.modes[name] = !set
		default:
			e.modes[name] = set
		}
		if !e.modes[name] {
			delete(e.modes, name)
		}
	}
	return ""
}
