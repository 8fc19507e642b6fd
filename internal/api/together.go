// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// Answers that cost memory to make are made one at a time: a crowd of scrapers then costs what one does (64 at once took
// preforkd from 16 to 42 MiB). And who asks for the same at the same time gets the same: the crowd waits for two answers
// to be made, not for one each. A slow reader holds its finished answer and nobody's turn.

import (
	"bytes"
	"maps"
	"net/http"
	"strings"
	"sync"
)

// together has next write into memory while it holds the only turn. A request gets an answer that is begun after it came,
// made for another one that asked for the same: same tells that of a request, nil that all do.
func together(turn chan struct{}, same func(*http.Request) string, next http.HandlerFunc) http.HandlerFunc {
	var (
		mu      sync.Mutex
		waiting = map[string]*batch{} // nobody has begun to make these: at most one for each request that is here
	)
	return func(w http.ResponseWriter, r *http.Request) {
		what := ""
		if same != nil {
			what = same(r)
		}
		mu.Lock()
		b := waiting[what]
		first := b == nil
		if first {
			b = &batch{answer: answer{header: http.Header{}, status: http.StatusOK}, done: make(chan struct{})}
			waiting[what] = b
		}
		mu.Unlock()
		if first { // it makes it for the others too, whether its own client stays or not
			turn <- struct{}{}
			mu.Lock()
			delete(waiting, what)
			mu.Unlock()
			b.make(turn, next, r)
		}
		select {
		case <-b.done:
			b.send(w)
		case <-r.Context().Done():
		}
	}
}

// sameScrape is what an answer for Prometheus depends on: the formats that the client takes, and the names it wants
// (?name[]=, client_golang 1.24).
func sameScrape(r *http.Request) string {
	return strings.Join(r.Header.Values("Accept"), ",") + "\n" + r.URL.RawQuery
}

// batch is an answer for all requests that came before it was begun.
type batch struct {
	answer
	done chan struct{}
}

func (b *batch) make(turn chan struct{}, next http.HandlerFunc, r *http.Request) {
	made := false
	defer func() {
		if !made { // it panicked: net/http tells the log and its client, and here are the others
			b.status = http.StatusInternalServerError
		}
		close(b.done)
	}()
	b.take(turn, next, r)
	made = true
}

func (b *batch) send(w http.ResponseWriter) {
	maps.Copy(w.Header(), b.header)
	w.WriteHeader(b.status)
	w.Write(b.body.Bytes())
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
