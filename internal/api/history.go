// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// GET /history: the last hour of the figures that a time line is drawn of.

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/preforkd/preforkd/supervisor"
)

const (
	historyEvery = 2    // seconds between two points
	historyKept  = 1800 // points: an hour, in 144 KB
)

// columns returns the names of a point's figures, in their order.
func columns() [9]string {
	return [9]string{"at", "used", "saved", "without_sharing", "data", "rss", "private", "ready", "workers"}
}

// point is one moment: seconds since 1970, bytes, numbers of workers; unknown is its own value.
type point [9]int64

// unknown stands for null; the columns hold bytes, of which nobody owes so many.
const unknown = -1 << 63

// pointOf takes the figures from a snapshot, and the time too: its clock does not jump.
func pointOf(s *supervisor.Snapshot) point {
	known := func(value *int64) int64 {
		if value == nil {
			return unknown
		}
		return *value
	}
	at := s.Supervisor.StartedAt.Add(time.Duration(s.Supervisor.Uptime * float64(time.Second)))
	m := &s.Memory
	p := point{
		at.Unix(), known(m.Used), known(m.Saved), known(m.WithoutSharing), m.Data, known(m.RSS), known(m.Private), 0, 0,
	}
	if s.Supervisor.State == supervisor.StateLoading { // nobody is there who could save
		p[2], p[3] = unknown, unknown
	}
	for i := range s.Workers {
		if s.Workers[i].Status == supervisor.StatusReady {
			p[7]++
		}
		if s.Workers[i].PID != nil {
			p[8]++
		}
	}
	return p
}

// history keeps the last points.
type history struct {
	mu     sync.Mutex
	points []point // a ring once it is full
	oldest int
}

// run takes a point at once and then one at each tick until done is closed.
func (h *history) run(source Source, done <-chan struct{}) {
	ticker := time.NewTicker(historyEvery * time.Second)
	defer ticker.Stop()
	for {
		if s := source.Snapshot(); s != nil {
			h.add(pointOf(s))
		}
		select {
		case <-ticker.C:
		case <-done:
			return
		}
	}
}

// add keeps a point that is later than the one before: after a pause two ticks may come at once.
func (h *history) add(p point) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := len(h.points)
	if n > 0 && p[0] <= h.points[(h.oldest+n-1)%n][0] {
		return
	}
	if n < historyKept {
		h.points = append(h.points, p)
		return
	}
	h.points[h.oldest] = p
	h.oldest = (h.oldest + 1) % n
}

// serve writes the columns, oldest first.
func (h *history) serve(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(h.json()) // the answer is made in memory
}

func (h *history) json() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	text := strconv.AppendInt([]byte(`{"interval": `), historyEvery, 10)
	for column, name := range columns() {
		text = append(append(append(text, `, "`...), name...), `": [`...)
		for i := range h.points {
			if i > 0 {
				text = append(text, ',')
			}
			value := h.points[(h.oldest+i)%len(h.points)][column]
			if value == unknown {
				text = append(text, "null"...)
			} else {
				text = strconv.AppendInt(text, value, 10)
			}
		}
		text = append(text, ']')
	}
	return append(text, "}\n"...)
}
