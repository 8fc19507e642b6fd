// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package format

// This file parses the few Python literals that npy headers are made of: strings, whole numbers, True and False,
// tuples, lists, and one dict around them. It takes nothing else, so nothing else can hide in a header.

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// maxDepth bounds the nesting of records in records.
const maxDepth = 32

// tuple is a Python tuple; a list is a []any. Their items are string, int64, bool, tuple or []any.
type tuple []any

// item is a value of the dict and its text as written.
type item struct {
	value any
	text  string
}

type literals struct {
	text string
	pos  int
}

// parseDict parses a dict with string keys that is the whole of text, white space aside.
func parseDict(text string) (map[string]item, error) {
	p := &literals{text: text}
	if !p.take('{') {
		return nil, p.unexpected()
	}
	fields := make(map[string]item)
	for !p.take('}') {
		key, err := p.quoted()
		if err != nil {
			return nil, err
		}
		if _, twice := fields[key]; twice {
			return nil, fmt.Errorf("%.100q stands there twice", key)
		}
		if !p.take(':') {
			return nil, p.unexpected()
		}
		p.space()
		start := p.pos
		value, err := p.value(0)
		if err != nil {
			return nil, err
		}
		fields[key] = item{value, p.text[start:p.pos]}
		if !p.take(',') && p.peek() != '}' {
			return nil, p.unexpected()
		}
	}
	if p.space(); p.pos != len(p.text) {
		return nil, p.unexpected()
	}
	return fields, nil
}

// value parses any literal but a dict.
func (p *literals) value(depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	switch c := p.peek(); {
	case c == '\'' || c == '"':
		return p.quoted()
	case c >= '0' && c <= '9' || c == '-':
		return p.number()
	case p.take('('):
		items, err := p.items(')', depth)
		return tuple(items), err
	case p.take('['):
		return p.items(']', depth)
	case p.word("True"):
		return true, nil
	case p.word("False"):
		return false, nil
	}
	return nil, p.unexpected()
}

// items parses what is left of a tuple or list, the closing bracket included. A parenthesis around one value without a
// comma would be that value in Python; numpy never writes one, and here it counts as a tuple of one.
func (p *literals) items(end byte, depth int) ([]any, error) {
	items := []any{}
	for !p.take(end) {
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		items = append(items, v)
		if !p.take(',') && p.peek() != end {
			return nil, p.unexpected()
		}
	}
	return items, nil
}

// quoted parses a string. The character after a backslash is taken as it is: escapes only occur in names of fields,
// which nobody looks at here.
func (p *literals) quoted() (string, error) {
	quote := p.peek()
	if quote != '\'' && quote != '"' {
		return "", p.unexpected()
	}
	var b strings.Builder
	for p.pos++; p.pos < len(p.text); p.pos++ {
		switch c := p.text[p.pos]; {
		case c == quote:
			p.pos++
			return b.String(), nil
		case c == '\\' && p.pos+1 < len(p.text):
			p.pos++
			b.WriteByte(p.text[p.pos])
		default:
			b.WriteByte(c)
		}
	}
	return "", errors.New("a string has no end")
}

// number parses a whole number; Python 2 wrote an L behind long ones.
func (p *literals) number() (int64, error) {
	start := p.pos
	for p.pos++; p.pos < len(p.text) && p.text[p.pos] >= '0' && p.text[p.pos] <= '9'; {
		p.pos++
	}
	n, err := strconv.ParseInt(p.text[start:p.pos], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%.24s… is not a size", p.text[start:p.pos])
	}
	p.word("L")
	return n, nil
}

func (p *literals) space() {
	for p.pos < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.pos]) >= 0 {
		p.pos++
	}
}

// peek is the next character that is not white space, 0 at the end.
func (p *literals) peek() byte {
	if p.space(); p.pos < len(p.text) {
		return p.text[p.pos]
	}
	return 0
}

// take steps over c if it comes next.
func (p *literals) take(c byte) bool {
	if p.pos >= len(p.text) || p.peek() != c {
		return false
	}
	p.pos++
	return true
}

func (p *literals) word(w string) bool {
	ok := strings.HasPrefix(p.text[p.pos:], w)
	if ok {
		p.pos += len(w)
	}
	return ok
}

func (p *literals) unexpected() error {
	if p.pos >= len(p.text) {
		return errors.New("it ends too early")
	}
	return fmt.Errorf("unexpected %q at byte %d", p.text[p.pos], p.pos)
}
