// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package top

// Bars of block characters.

import (
	"math"
	"strings"

	"github.com/preforkd/preforkd/supervisor"
)

const (
	minBar = 10
	maxBar = 64

	full, shared, claimed = "█", "▒", "░"
)

// memoryBar shows what RSS claims of a worker, on a scale of which the whole bar is most: its private memory, its share of
// what it has in common with others, and what RSS counts although it is others' share. Where the share is not known, the
// latter two are question marks.
func (m *model) memoryBar(w *supervisor.Worker, most int64, columns int) string {
	if w.RSS == nil || w.Private == nil || most <= 0 {
		return ""
	}
	share := int64(0)
	if w.PSS != nil {
		share = max(0, *w.PSS-*w.Private)
	}
	a, b, c := parts(*w.Private, share, *w.RSS, most, columns)
	rest := claimed
	if w.PSS == nil {
		rest = "?" // shared or not
	}
	return m.style.private(strings.Repeat(full, a)) + m.style.share(strings.Repeat(shared, b)) +
		m.style.faint(strings.Repeat(rest, c))
}

// parts divides a bar. What there is gets a place at least, so that it is seen.
func parts(first, second, whole, most int64, columns int) (a, b, c int) {
	scale := float64(columns) / float64(most)
	all := cells(float64(whole)*scale, whole, columns)
	a = min(cells(float64(first)*scale, first, columns), all)
	b = min(cells(float64(second)*scale, second, columns), all-a)
	return a, b, all - a - b
}

func cells(exact float64, value int64, columns int) int {
	n := int(math.Round(exact))
	if value > 0 {
		n = max(n, 1)
	}
	return min(max(n, 0), columns)
}

// gauge is a bar that is filled up to done of total.
func (m *model) gauge(done, total int64, columns int) string {
	if total <= 0 || columns <= 0 {
		return ""
	}
	n := int(min(max(done, 0), total) * int64(columns) / total)
	return m.style.private(strings.Repeat(full, n)) + m.style.faint(strings.Repeat(claimed, columns-n))
}
