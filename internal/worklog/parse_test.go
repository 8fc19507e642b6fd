// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package worklog

// What the tests share: a writer that checks each call, and the way back from lines to bytes.

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"
)

var formats = []Format{Prefix, JSON}

func noon() time.Time { return time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC) }

// sheet keeps what was written and fails the test for a call that does not hold whole lines, or one inside another.
type sheet struct {
	t       *testing.T
	writing sync.Mutex
	text    []byte
	longest int // of a call
}

func (s *sheet) Write(p []byte) (int, error) {
	if !s.writing.TryLock() {
		s.t.Error("two calls at once")
		s.writing.Lock()
	}
	defer s.writing.Unlock()
	if len(p) == 0 || p[len(p)-1] != '\n' {
		s.t.Errorf("a call does not end with a line: %.80q", p)
	}
	s.text = append(s.text, p...)
	s.longest = max(s.longest, len(p))
	return len(p), nil
}

// key names a stream: worker, incarnation, stdout or stderr.
type key struct {
	worker, incarnation int
	stream              string
}

// line is one line, read back.
type line struct {
	key
	text  []byte
	ended bool
}

var prefixed = regexp.MustCompile(`^worker (\d+)\.(\d+) (out|err) ([|+]) `)

func parse(t *testing.T, format Format, text []byte) (lines []line) {
	t.Helper()
	for raw := range bytes.Lines(text) {
		raw = bytes.TrimSuffix(raw, []byte{'\n'})
		if format == JSON {
			lines = append(lines, parseJSON(t, raw))
			continue
		}
		m := prefixed.FindSubmatch(raw)
		if m == nil {
			t.Fatalf("not a line of a worker: %.80q", raw)
		}
		worker, _ := strconv.Atoi(string(m[1]))
		incarnation, _ := strconv.Atoi(string(m[2]))
		lines = append(lines, line{key{worker, incarnation, "std" + string(m[3])}, raw[len(m[0]):], string(m[4]) == "|"})
	}
	return lines
}

// parseJSON reads an object as a stranger would, not by our own type.
func parseJSON(t *testing.T, raw []byte) line {
	t.Helper()
	var r struct {
		Time                string
		Worker, Incarnation int
		Stream              string
		Line                *string
		Base64              []byte `json:"line_base64"`
		Partial             bool
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatalf("%v: %.80q", err, raw)
	}
	if _, err := time.Parse(time.RFC3339, r.Time); err != nil || (r.Line == nil) == (r.Base64 == nil) {
		t.Fatalf("not a line of a worker: %.80q", raw)
	}
	if r.Line != nil {
		r.Base64 = []byte(*r.Line)
	}
	return line{key{r.Worker, r.Incarnation, r.Stream}, r.Base64, !r.Partial}
}

// streams puts the bytes of each stream together again.
func streams(lines []line) map[key]string {
	all := map[key][]byte{}
	for _, l := range lines {
		all[l.key] = append(all[l.key], l.text...)
		if l.ended {
			all[l.key] = append(all[l.key], '\n')
		}
	}
	out := map[key]string{}
	for k, text := range all {
		out[k] = string(text)
	}
	return out
}
