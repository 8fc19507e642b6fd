// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// The rows of a snapshot by slot, and small arithmetic in which a missing value stays missing.

import (
	"strconv"
	"time"

	"github.com/preforkd/preforkd/supervisor"
)

// slot is one slot's rows: one, or two while its worker is being replaced.
type slot struct {
	id   string
	rows []*supervisor.Worker
}

// slots groups rows by slot, in the order in which the slots appear.
func slots(workers []supervisor.Worker) []slot {
	var out []slot
	place := map[int]int{}
	for i := range workers {
		w := &workers[i]
		at, seen := place[w.ID]
		if !seen {
			at = len(out)
			place[w.ID] = at
			out = append(out, slot{id: strconv.Itoa(w.ID)})
		}
		out[at].rows = append(out[at].rows, w)
	}
	return out
}

func (s slot) newest() *supervisor.Worker {
	newest := s.rows[0]
	for _, w := range s.rows {
		if w.Incarnation > newest.Incarnation {
			newest = w
		}
	}
	return newest
}

func (s slot) ready() bool {
	for _, w := range s.rows {
		if w.Status == supervisor.StatusReady {
			return true
		}
	}
	return false
}

func (s slot) replacing() bool {
	for _, w := range s.rows {
		if w.Replacing != "" {
			return true
		}
	}
	return false
}

func (s slot) processes() (n int) {
	for _, w := range s.rows {
		n += len(w.PIDs)
	}
	return n
}

func (s slot) oldestSample() *time.Time {
	var oldest *time.Time
	for _, w := range s.rows {
		if at := w.Sample.At; at != nil && (oldest == nil || at.Before(*oldest)) {
			oldest = at
		}
	}
	return oldest
}

// data returns one row for each version that the slot's workers were handed.
func (s slot) data() []supervisor.WorkerData {
	type key struct {
		name    string
		version int
	}
	var out []supervisor.WorkerData
	place := map[key]int{}
	for _, w := range s.rows {
		for _, d := range w.Data {
			at, seen := place[key{d.Name, d.Version}]
			if !seen {
				place[key{d.Name, d.Version}] = len(out)
				out = append(out, d)
				continue
			}
			t := &out[at]
			t.RSS, t.PSS, t.COW, t.Huge = plus(t.RSS, d.RSS), plus(t.PSS, d.PSS), plus(t.COW, d.COW), plus(t.Huge, d.Huge)
		}
	}
	return out
}

// sum adds a field up over the slot's rows; nil when one of them is.
func sum[T int | int64](s slot, field func(w *supervisor.Worker) *T) *T {
	total := new(T)
	for _, w := range s.rows {
		total = plus(total, field(w))
	}
	return total
}

func plus[T int | int64](a, b *T) *T {
	if a == nil || b == nil {
		return nil
	}
	total := *a + *b
	return &total
}

// number emits a value that could be read; a nil one is no series.
func number[T int | int64 | float64](emit emit, value *T, labels ...string) {
	if value != nil {
		emit(float64(*value), labels...)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func unixTime(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
