// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// GET /events: what happens, as it happens, as server-sent events
// (https://html.spec.whatwg.org/multipage/server-sent-events.html).

import (
	"fmt"
	"net/http"
	"strconv"
)

// maxStreams are the streams of one listener. They have connections of their own, beside those for everything else.
const maxStreams = 16

// serve sends frames until the client leaves, does not take one in time, or preforkd ends.
func (h *hub) serve(w http.ResponseWriter, r *http.Request) {
	seq, err := startAfter(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would hold the messages back
	if r.Method == http.MethodHead {
		return
	}
	s := &listening{ResponseWriter: w, control: http.NewResponseController(w)}
	s.send([]byte("retry: 2000\n\n"))
	s.flush()
	h.join()
	defer h.leave()
	for f := h.latest(); ; f = h.latest() {
		if f.told {
			seq = s.tell(h, f, seq)
		}
		if s.err != nil || f.last {
			return
		}
		select {
		case <-f.next:
		case <-r.Context().Done():
			return
		}
	}
}

// startAfter is the number of the last event that the client knows, 0 for none. What a browser sends when it
// connects again goes over the address, which is as it was the first time.
func startAfter(r *http.Request) (uint64, error) {
	if seq, err := strconv.ParseUint(r.Header.Get("Last-Event-ID"), 10, 64); err == nil {
		return seq, nil
	}
	after := r.URL.Query().Get("after")
	if after == "" {
		return 0, nil
	}
	seq, err := strconv.ParseUint(after, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("cannot begin after the event %q: it is no number", after)
	}
	return seq, nil
}

// listening is one client of the hub; after an error it gets nothing more.
type listening struct {
	http.ResponseWriter
	control *http.ResponseController
	err     error
}

// tell sends a frame's events behind seq and its stats, and returns the number of the last event that the client has
// now.
func (s *listening) tell(h *hub, f *frame, seq uint64) uint64 {
	if !f.at.IsZero() { // else the deadline of every request still stands, which is as long
		_ = s.control.SetWriteDeadline(f.at.Add(h.patience))
	}
	for _, e := range f.after(seq) {
		s.send(e.bytes)
	}
	s.send(f.stats)
	if f.last {
		s.send([]byte("event: end\ndata: {}\n\n"))
	}
	s.flush()
	return f.lastSeq()
}

func (s *listening) send(message []byte) {
	if s.err == nil {
		_, s.err = s.Write(message)
	}
}

func (s *listening) flush() {
	if s.err == nil {
		s.err = s.control.Flush()
	}
}
