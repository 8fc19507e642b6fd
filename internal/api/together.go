// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// Who asks for the same at the same time gets the same: a crowd waits for two answers to be made, not for one each.

import (
	"maps"
	"net/http"
	"sync"
)

// together is inTurn for answers that are the same for everybody. A request gets one that is begun after it came.
func together(turn chan struct{}, next http.HandlerFunc) http.HandlerFunc {
	var (
		mu      sync.Mutex
		waiting *batch // nobody has begun to make its answer
	)
	return func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		b, first := waiting, waiting == nil
		if first {
			b = &batch{answer: answer{header: http.Header{}, status: http.StatusOK}, done: make(chan struct{})}
			waiting = b
		}
		mu.Unlock()
		if first { // it makes it for the others too, whether its own client stays or not
			turn <- struct{}{}
			mu.Lock()
			waiting = nil
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
