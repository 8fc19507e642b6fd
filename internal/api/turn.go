// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// Answers that cost memory to make are made one at a time: a crowd of scrapers then costs what one does (64 at once took
// preforkd from 16 to 42 MiB). A slow reader holds its finished answer and nobody's turn.

import (
	"bytes"
	"net/http"
)

// inTurn has next write into memory while it holds the only turn, and sends the result when the turn is given back.
func inTurn(turn chan struct{}, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		a := &answer{header: w.Header(), status: http.StatusOK}
		select {
		case turn <- struct{}{}:
			a.take(turn, next, r)
		case <-r.Context().Done():
			return
		}
		w.WriteHeader(a.status)
		w.Write(a.body.Bytes())
	}
}

// answer is an http.ResponseWriter into memory.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) take(turn chan struct{}, next http.HandlerFunc, r *http.Request) {
	defer func() { <-turn }()
	next(a, r)
}

func (a *answer) Header() http.Header            { return a.header }
func (a *answer) WriteHeader(status int)         { a.status = status }
func (a *answer) Write(text []byte) (int, error) { return a.body.Write(text) }
