// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// The answer to an order: JSON lines while it is carried out, one more when it is done.

import (
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"time"

	"github.com/preforkd/preforkd/supervisor"
)

const (
	pollEvery  = 200 * time.Millisecond // how soon progress is told
	aliveEvery = 5 * time.Second        // how long nothing is told: a line then says that the wait goes on
	maxWaiting = 64                     // orders that are waited for; they have connections of their own
)

// progressLine is every line but the last. Operation is nil when none is under way: the order waits, or it is about to end.
type progressLine struct {
	Operation *supervisor.Operation `json:"operation"`
}

// lastLine tells how the order ended. Code is the exit code of the verb, 0 for one that was carried out.
type lastLine struct {
	Done  bool   `json:"done"`
	Text  string `json:"text,omitempty"`
	Code  int    `json:"code,omitempty"`
	Error string `json:"error,omitempty"`
}

// desk is where orders are carried out.
type desk struct {
	source Source
	places chan struct{}
}

// carryOut has an order done and streams its progress. A client that leaves, or does not read, ends only its own waiting.
func (d *desk) carryOut(w http.ResponseWriter, r *http.Request, do order) {
	select {
	case d.places <- struct{}{}:
	default:
		http.Error(w, "cannot take the order: too many are being waited for", http.StatusServiceUnavailable)
		return
	}
	done := make(chan lastLine, 1)
	go func() {
		defer func() { <-d.places }()
		text, err := do(r.Context())
		done <- ending(text, err)
	}()
	s := &stream{json: json.NewEncoder(w), control: http.NewResponseController(w)}
	s.json.SetEscapeHTML(false)
	w.Header().Set("Content-Type", "application/x-ndjson")
	d.follow(r, s, done)
}

// follow sends lines until the order is done, or nobody takes them any more.
func (d *desk) follow(r *http.Request, s *stream, done <-chan lastLine) {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	told, toldAt := d.operation(), time.Time{}
	s.send(progressLine{told})
	for s.err == nil {
		select {
		case last := <-done:
			s.send(last)
			return
		case <-r.Context().Done():
			return
		case now := <-ticker.C:
			// Each line has as long as a whole answer has elsewhere; the operation may take hours.
			_ = s.control.SetWriteDeadline(now.Add(writeTimeout))
			if toldAt.IsZero() { // the first tick stands for the time of the first line
				toldAt = now
			}
			operation := d.operation()
			if now.Sub(toldAt) >= aliveEvery || !reflect.DeepEqual(operation, told) {
				s.send(progressLine{operation})
				told, toldAt = operation, now
			}
		}
	}
}

func (d *desk) operation() *supervisor.Operation {
	if snapshot := d.source.Snapshot(); snapshot != nil {
		return snapshot.Supervisor.Operation
	}
	return nil
}

func ending(text string, err error) lastLine {
	if err == nil {
		return lastLine{Done: true, Text: text}
	}
	code := int(supervisor.KindFleet)
	if failure, ok := errors.AsType[*supervisor.Error](err); ok {
		code = int(failure.Kind)
	}
	return lastLine{Done: true, Code: code, Error: err.Error()}
}

// stream writes lines, each of which leaves at once; after an error there are no more.
type stream struct {
	json    *json.Encoder
	control *http.ResponseController
	err     error
}

func (s *stream) send(line any) {
	if s.err = s.json.Encode(line); s.err == nil {
		s.err = s.control.Flush()
	}
}
