// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/preforkd/preforkd/internal/api/apitest"
)

func TestAnswersAreMadeOneAtATime(t *testing.T) {
	var running, most atomic.Int32
	handler := together(make(chan struct{}, 1), nil, func(w http.ResponseWriter, _ *http.Request) {
		most.Store(max(most.Load(), running.Add(1)))
		w.WriteHeader(http.StatusTeapot)
		w.Write([]byte("tea"))
		running.Add(-1)
	})
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for range 100 {
				w := httptest.NewRecorder()
				handler(w, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
				if w.Code != http.StatusTeapot || w.Body.String() != "tea" {
					t.Errorf("%d %q", w.Code, w.Body)
				}
			}
		})
	}
	clients.Wait()
	if most.Load() != 1 {
		t.Errorf("%d at once", most.Load())
	}
}

func TestATurnIsGivenBackByAHandlerThatPanics(t *testing.T) {
	turn := make(chan struct{}, 1)
	func() {
		defer func() { _ = recover() }()
		together(turn, nil, func(http.ResponseWriter, *http.Request) { panic("x") })(
			httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	}()
	if len(turn) != 0 {
		t.Error("the turn is kept")
	}
}

// One answer is being made; whoever comes meanwhile gets the next one, the same for all.
func TestACrowdIsAnsweredTogether(t *testing.T) { synctest.Test(t, answeredTogether) }

func answeredTogether(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	var made atomic.Int32
	handler := together(make(chan struct{}, 1), nil, func(w http.ResponseWriter, _ *http.Request) {
		n := made.Add(1)
		begun <- struct{}{}
		<-release
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprintf(w, "answer %d", n)
	})
	ask := func(want string) {
		w := httptest.NewRecorder()
		handler(w, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
		if w.Code != http.StatusOK || w.Body.String() != want || w.Header().Get("Content-Type") != "text/plain" {
			t.Errorf("%d %q %v, want %q", w.Code, w.Body, w.Header(), want)
		}
	}
	var clients sync.WaitGroup
	clients.Go(func() { ask("answer 1") })
	<-begun
	for range 20 {
		clients.Go(func() { ask("answer 2") })
	}
	clients.Go(func() { // who leaves holds nobody up
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		handler(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/", http.NoBody))
	})
	synctest.Wait()
	release <- struct{}{}
	<-begun
	release <- struct{}{}
	clients.Wait()
	if made.Load() != 2 {
		t.Errorf("%d answers were made for 22 requests", made.Load())
	}
}

// Nobody gets an answer to what somebody else asked.
func TestACrowdOfScrapersGetsWhatEachAskedFor(t *testing.T) { synctest.Test(t, answeredApart) }

func answeredApart(t *testing.T) {
	turn := make(chan struct{}, 1)
	turn <- struct{}{} // all wait
	var made atomic.Int32
	handler := together(turn, sameScrape, func(w http.ResponseWriter, r *http.Request) {
		made.Add(1)
		fmt.Fprint(w, r.Header.Get("Accept"), r.URL.RawQuery)
	})
	var clients sync.WaitGroup
	asked := []struct{ accept, query string }{{"text/plain", ""}, {"application/openmetrics-text", ""}, {"", "name[]=up"}, {"", ""}}
	for i := range 40 {
		clients.Go(func() {
			ask := asked[i%len(asked)]
			w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/?"+ask.query, http.NoBody)
			r.Header.Set("Accept", ask.accept)
			if handler(w, r); w.Body.String() != ask.accept+ask.query {
				t.Errorf("%q for %+v", w.Body, ask)
			}
		})
	}
	synctest.Wait()
	<-turn
	clients.Wait()
	if made.Load() != int32(len(asked)) {
		t.Errorf("%d answers were made for %d questions", made.Load(), len(asked))
	}
}

func TestACrowdSurvivesAHandlerThatPanics(t *testing.T) {
	handler := together(make(chan struct{}, 1), nil, func(http.ResponseWriter, *http.Request) { panic("x") })
	for range 2 { // the turn and the place are free again
		func() {
			defer func() { _ = recover() }()
			handler(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", http.NoBody))
			t.Error("it did not panic")
		}()
	}
}

func TestASnapshotThatIsNoJSONIsAnError(t *testing.T) {
	s := apitest.Example()
	s.Sampler.Interval = math.NaN()
	response, body := ask(t, "GET", serve(t, apitest.NewSource(s))+"/stats")
	if response.StatusCode != 500 || !strings.HasPrefix(body, "cannot encode the stats") {
		t.Errorf("%s %q", response.Status, body)
	}
	if got := response.Header.Get("Content-Type"); !strings.HasPrefix(got, "text/plain") {
		t.Errorf("Content-Type %q", got)
	}
}

// BenchmarkScrape tells what one scrape of a fleet of 64 workers allocates.
func BenchmarkScrape(b *testing.B) {
	s := apitest.Example()
	worker := s.Workers[0]
	s.Workers = nil
	for id := range 64 {
		worker.ID = id
		s.Workers = append(s.Workers, worker)
	}
	source := apitest.NewSource(s)
	for _, r := range rows(source, nil) {
		if r.stream {
			continue
		}
		b.Run(strings.TrimPrefix(r.path, "/"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.handler(httptest.NewRecorder(), httptest.NewRequest(r.method, "/", http.NoBody))
			}
		})
	}
}
