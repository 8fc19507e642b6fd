// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package top

// Styles and widths. What a colour says, a word or a mark says too.

import (
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// roomy is the width from which figures are written in full.
const roomy = 132

// style writes text with attributes, and with colours unless they were not wanted.
type style struct{ color bool }

func (s style) bold(text string) string  { return sgr("1", text) }
func (s style) faint(text string) string { return sgr("2", text) }
func (s style) title(text string) string { return sgr("7", text) }

func (s style) red(text string) string     { return s.paint("31", text) }
func (s style) green(text string) string   { return s.paint("32", text) }
func (s style) yellow(text string) string  { return s.paint("33", text) }
func (s style) private(text string) string { return s.paint("36", text) } // cyan
func (s style) share(text string) string   { return s.paint("34", text) } // blue

func (s style) paint(code, text string) string {
	if !s.color {
		return text
	}
	return sgr(code, text)
}

func sgr(code, text string) string {
	if text == "" {
		return ""
	}
	return "\x1b[" + code + "m" + text + "\x1b[m"
}

// width is how many columns text takes on the screen.
func width(text string) int { return ansi.StringWidth(text) }

// cut makes text fit.
func cut(text string, columns int) string { return ansi.Truncate(text, max(0, columns), "…") }

// pad fills text up to a width, to the right or to the left.
func pad(text string, columns int, left bool) string {
	text = cut(text, columns)
	space := strings.Repeat(" ", max(0, columns-width(text)))
	if left {
		return text + space
	}
	return space + text
}

// apart writes one text at the left and one at the right end of a line; the right one goes first when there is no room.
func apart(left, right string, columns int) string {
	space := columns - width(left) - width(right)
	if right == "" || space < 2 {
		return cut(left, columns)
	}
	return left + strings.Repeat(" ", space) + right
}
