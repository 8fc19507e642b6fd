// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package worklog

// The two formats of a line.

import (
	"encoding/json"
	"time"
	"unicode/utf8"
)

// putPrefixed writes "worker 3.2 out | text", the text as it is, or "worker 3.2 out + text" when the line does not end here.
func (s *stream) putPrefixed(line []byte, ended bool) {
	out := &s.log.pending
	out.WriteString(s.prefix)
	if ended {
		out.WriteString("| ")
	} else {
		out.WriteString("+ ")
	}
	out.Write(line)
	out.WriteByte('\n')
}

// record is a JSON line. Either Line or LineBase64 is there.
type record struct {
	Time        time.Time `json:"time"`
	Worker      int       `json:"worker"`
	Incarnation int       `json:"incarnation"`
	Stream      string    `json:"stream"`
	Line        *string   `json:"line,omitempty"`
	LineBase64  []byte    `json:"line_base64,omitempty"` // where the text is not UTF-8
	Partial     bool      `json:"partial,omitempty"`     // the line does not end here
}

func (s *stream) putJSON(now time.Time, line []byte, ended bool) {
	r := record{Time: now, Worker: s.worker, Incarnation: s.incarnation, Stream: s.name, Partial: !ended}
	if utf8.Valid(line) {
		text := string(line)
		r.Line = &text
	} else {
		r.LineBase64 = line
	}
	encoder := json.NewEncoder(&s.log.pending)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(r) // nothing in a record can fail, and a buffer takes all
}
