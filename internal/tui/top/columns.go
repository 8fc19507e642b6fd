// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package top

// The columns of the table, and the order of its rows.

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/preforkd/preforkd/internal/tui"
	"github.com/preforkd/preforkd/supervisor"
)

// row is a worker with what only several snapshots tell.
type row struct {
	*supervisor.Worker
	cpu, requests *float64 // shares of a core; per second
	age           *float64 // seconds
}

func (r *row) place() place { return place{r.ID, r.Incarnation} }

// column is one of the table. A cell shows what value sorts by, unless it is text.
type column struct {
	name  string
	key   string // sorts by it; "" for none
	width int    // at the least
	rank  int    // the column with the lowest goes first when there is no room
	left  bool   // text
	// optional: it goes before the others where no worker has a value.
	optional bool
	up       bool // the smallest first
	value    func(*row) *float64
	cell     func(m *model, r *row) string
	sum      func(m *model, rows []row) string // nil: none
}

// Places in columns.
const (
	byID = iota
	byPID
	byStatus
	byIncarnation
	byUptime
	bar
	byRSS
	byPSS
	byUSS
	byPrivate
	byCOW
	byCPU
	byRequests
	byAge
)

// columns from left to right.
func columns() []column {
	return []column{
		byID: {
			name: "ID", key: "i", width: 3, rank: 99, up: true,
			value: func(r *row) *float64 { return new(float64(r.ID)) },
			cell:  func(_ *model, r *row) string { return strconv.Itoa(r.ID) },
		},
		byPID: {
			name: "PID", key: "d", width: 7, rank: 98, up: true,
			value: func(r *row) *float64 { return number(r.PID) },
			cell:  func(_ *model, r *row) string { return pid(r.Worker) },
		},
		byStatus: {
			name: "STATUS", key: "s", width: 8, rank: 97, up: true, left: true,
			value: func(r *row) *float64 { return new(float64(slices.Index(statuses(), r.Status))) },
			cell:  func(_ *model, r *row) string { return status(r.Worker) },
		},
		byIncarnation: {
			name: "INC", key: "n", width: 3, rank: 1,
			value: func(r *row) *float64 { return new(float64(r.Incarnation)) },
			cell:  func(_ *model, r *row) string { return strconv.Itoa(r.Incarnation) },
		},
		byUptime: {
			name: "UP", key: "t", width: 6, rank: 50, value: func(r *row) *float64 { return r.Uptime },
			cell: func(_ *model, r *row) string { return seconds(r.Uptime) },
		},
		bar:        {name: "MEMORY", width: minBar, rank: 90, left: true},
		byRSS:      figure("RSS", "m", 80, func(r *row) *int64 { return r.RSS }),
		byPSS:      figure("PSS", "h", 70, func(r *row) *int64 { return r.PSS }),
		byUSS:      figure("USS", "u", 2, func(r *row) *int64 { return r.USS }),
		byPrivate:  figure("PRIVATE", "v", 75, func(r *row) *int64 { return r.Private }),
		byCOW:      figure("COW", "w", 10, func(r *row) *int64 { return tui.COW(r.Worker) }),
		byCPU:      rate("CPU %", "c", 60, false, func(r *row) *float64 { return r.cpu }, 100),
		byRequests: rate("REQ/S", "e", 40, true, func(r *row) *float64 { return r.requests }, 1),
		byAge: {
			name: "AGE", key: "a", width: 4, rank: 3, value: func(r *row) *float64 { return r.age },
			cell: func(_ *model, r *row) string { return estimated(r) + seconds(r.age) },
		},
	}
}

// figure is a column of bytes.
func figure(name, key string, rank int, of func(*row) *int64) column {
	return column{
		name: name, key: key, width: 6, rank: rank, value: func(r *row) *float64 { return number(of(r)) },
		cell: func(m *model, r *row) string { return m.bytes(of(r)) },
		sum: func(m *model, rows []row) string {
			total := new(int64(0))
			for i := range rows {
				n := of(&rows[i])
				switch {
				case rows[i].PID == nil:
				case n == nil:
					return tui.Dash
				default:
					*total += *n
				}
			}
			return m.bytes(total)
		},
	}
}

// rate is a column of something per second. Its sum is of what is known: a worker that has just come adds nothing yet.
func rate(name, key string, rank int, optional bool, of func(*row) *float64, scale float64) column {
	write := func(n *float64) string {
		if n == nil {
			return tui.Dash
		}
		value := *n * scale
		if value >= 1000 {
			return fmt.Sprintf("%.0f", value)
		}
		return fmt.Sprintf("%.1f", value)
	}
	return column{
		name: name, key: key, width: 6, rank: rank, optional: optional, value: of,
		cell: func(_ *model, r *row) string { return write(of(r)) },
		sum: func(_ *model, rows []row) string {
			var total *float64
			for i := range rows {
				if n := of(&rows[i]); n != nil {
					if total == nil {
						total = new(float64)
					}
					*total += *n
				}
			}
			return write(total)
		},
	}
}

// rows are the workers, sorted. What is not known comes last, whichever way they are sorted.
func (m *model) rows() []row {
	if m.snapshot == nil {
		return nil
	}
	rows := make([]row, 0, len(m.snapshot.Workers))
	for i := range m.snapshot.Workers {
		w := &m.snapshot.Workers[i]
		r := row{Worker: w, age: tui.SampleAge(m.snapshot, w)}
		if w.PID != nil {
			r.cpu = m.rates.of(cpuOf{w.ID, w.Incarnation, *w.PID})
			r.requests = m.rates.of(requestsOf{w.ID, w.Incarnation, *w.PID})
		}
		rows = append(rows, r)
	}
	by := columns()[m.sort]
	slices.SortStableFunc(rows, func(a, b row) int {
		x, y := by.value(&a), by.value(&b)
		switch {
		case x == nil || y == nil:
			if c := known(y) - known(x); c != 0 {
				return c
			}
		case by.up != m.reversed:
			if c := cmp.Compare(*x, *y); c != 0 {
				return c
			}
		default:
			if c := cmp.Compare(*y, *x); c != 0 {
				return c
			}
		}
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Incarnation, b.Incarnation))
	})
	return rows
}

func known(n *float64) int {
	if n == nil {
		return 0
	}
	return 1
}

func number[T int | int64](n *T) *float64 {
	if n == nil {
		return nil
	}
	return new(float64(*n))
}

func seconds(n *float64) string {
	if n == nil {
		return tui.Dash
	}
	return tui.Duration(*n)
}

// estimated marks figures that were not counted page by page.
func estimated(r *row) string {
	if r.age == nil || r.Sample.Exact {
		return ""
	}
	return "~"
}

// statuses in the order that a worker has them.
func statuses() []supervisor.Status {
	return []supervisor.Status{
		supervisor.StatusBackoff, supervisor.StatusStarting, supervisor.StatusReady, supervisor.StatusStopping,
	}
}

// status has a mark behind it where the worker is to be replaced.
func status(w *supervisor.Worker) string {
	text := tui.Line(string(w.Status))
	if w.Replacing != "" {
		text += " ↻"
	}
	return text
}

// pid is the leader's, with the number of other processes in its tree.
func pid(w *supervisor.Worker) string {
	switch {
	case w.PID == nil:
		return tui.Dash
	case len(w.PIDs) > 1:
		return fmt.Sprintf("%d+%d", *w.PID, len(w.PIDs)-1)
	}
	return strconv.Itoa(*w.PID)
}

// bytes is short where the screen is narrow: "539Mi" as free -h writes it.
func (m *model) bytes(n *int64) string {
	text := tui.Bytes(n)
	if m.width >= roomy {
		return text
	}
	text = strings.ReplaceAll(text, " ", "")
	if strings.HasSuffix(text, "iB") {
		text = strings.TrimSuffix(text, "B")
	}
	return text
}
