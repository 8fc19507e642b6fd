// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package tui

// Markdown as GitHub reads it, made of text that may hold anything.

import (
	"strings"
	"unicode"
)

// markdownTable writes an empty line and the table, whose cells are Markdown. Its columns are aligned for those who read the
// text as it is.
func (p *page) markdownTable(t *table) {
	for _, row := range t.rows {
		for i := range row {
			row[i] = strings.ReplaceAll(row[i], "|", `\|`) // also in a code span
		}
	}
	widths := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], length(cell), 3)
		}
	}
	p.printf("\n")
	p.markdownRow(t.head, widths, t.left)
	for i, n := range widths {
		line := strings.Repeat("-", n)
		if t.left[i] == '1' {
			p.printf("| %s ", line)
		} else {
			p.printf("| %s:", line)
		}
	}
	p.printf("|\n")
	for _, row := range t.rows {
		p.markdownRow(row, widths, t.left)
	}
}

func (p *page) markdownRow(cells []string, widths []int, left string) {
	for i, cell := range cells {
		pad := strings.Repeat(" ", widths[i]-length(cell))
		if left[i] == '1' {
			p.printf("| %s%s ", cell, pad)
		} else {
			p.printf("| %s%s ", pad, cell)
		}
	}
	p.printf("|\n")
}

// markdown makes text mean itself, on one line. What may hold names that a forge would turn into links (@name, #1) belongs
// into a codeSpan.
func markdown(text string) string {
	var out strings.Builder
	letters := []rune(Line(text))
	word := func(i int) bool {
		return i >= 0 && i < len(letters) && (unicode.IsLetter(letters[i]) || unicode.IsDigit(letters[i]))
	}
	for i, r := range letters {
		within := word(i-1) && word(i+1) // where an underscore is no mark of emphasis
		if strings.ContainsRune("\\`*[]<>#~&", r) || r == '_' && !within {
			out.WriteByte('\\')
		}
		out.WriteRune(r)
	}
	return out.String()
}

// codeSpan makes text stand as it is, on one line.
func codeSpan(text string) string {
	text = Line(text)
	if strings.TrimSpace(text) == "" {
		return Dash
	}
	fence, run := 1, 0
	for _, r := range text {
		if r == '`' {
			run++
			fence = max(fence, run+1)
		} else {
			run = 0
		}
	}
	marks := strings.Repeat("`", fence)
	if fence > 1 {
		marks, text = marks+" ", text+" "
	}
	return marks + text + strings.TrimSpace(marks)
}
