// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// What a stream of events may cost: clients that do not read, too many of them, and the end.

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/preforkd/preforkd/internal/api/apitest"
	"github.com/preforkd/preforkd/supervisor"
)

// The deadline of a whole answer is over in seconds; a stream has one for each write.
func TestTheDeadlinesOfARequestDoNotEndAStream(t *testing.T) {
	t.Parallel()
	source := apitest.NewSource(apitest.Example())
	h, path := serveHub(t, source, writeTimeout, 1500*time.Millisecond)
	client := Dial(path).http
	e := hark(t, &client, "http://x/events")
	for i := range 10 { // each comes a tick after the one before
		e.until()
		source.Show(apitest.Example())
		if h.deserted() {
			t.Fatalf("the stream has ended behind %d", i)
		}
	}
}

// serveHub serves a hub alone, with deadlines of its own, on a unix socket: its buffers are small.
func serveHub(t *testing.T, source Source, patience, request time.Duration) (*hub, string) {
	t.Helper()
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	h := newHub(source, log)
	h.patience = patience
	places := make(chan struct{}, maxConnections)
	server := newServer(mux(routes(source, nil, log, h, &history{}), false), log, places)
	server.ReadTimeout, server.WriteTimeout = request, request
	done := make(chan struct{})
	go func() { h.run(); close(done) }()
	go server.Serve(&limited{Listener: listener, places: places, done: make(chan struct{})})
	t.Cleanup(func() { h.end(); server.Close(); <-done })
	return h, listener.Addr().String()
}

// large is a snapshot that no socket's buffer holds.
func large() *supervisor.Snapshot {
	s := apitest.Example()
	worker := s.Workers[0]
	for id := range 800 {
		worker.ID = id
		s.Workers = append(s.Workers, worker)
	}
	return s
}

func TestAListenerThatDoesNotReadIsDroppedAndHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	h, path := serveHub(t, apitest.NewSource(large()), 6*time.Second, 6*time.Second)
	slow, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	io.WriteString(slow, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
	eventually(t, "the slow one listens", func() bool { return !h.deserted() })
	client := Dial(path).http
	e := hark(t, &client, "http://x/events")
	listeners := func() int {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.listeners
	}
	for listeners() != 1 {
		e.until()
	}
	e.until() // the other one goes on
	slow.SetReadDeadline(time.Now().Add(60 * time.Second))
	if rest, err := io.ReadAll(slow); err != nil || strings.HasSuffix(string(rest), "\n\n") {
		t.Errorf("the slow one got a whole frame in %d bytes (%v): it proves nothing", len(rest), err)
	}
}

// eventually polls a fact.
func eventually(t *testing.T, what string, fact func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	late := time.After(20 * time.Second)
	for !fact() {
		select {
		case <-ticker.C:
		case <-late:
			t.Fatalf("not in time: %s", what)
		}
	}
}

// holding answers /healthz when it is released.
type holding struct {
	Source
	entered, release chan struct{}
}

func (s *holding) Healthy() bool {
	s.entered <- struct{}{}
	<-s.release
	return true
}

func TestStreamsAreBoundedAndLeaveTheOtherPlacesAlone(t *testing.T) {
	source := &holding{apitest.NewSource(apitest.Example()), make(chan struct{}, maxConnections), make(chan struct{})}
	url := serve(t, source)
	client := &http.Client{Timeout: 20 * time.Second}
	another := func() (status int, text string) {
		response, err := client.Get(url + "/events")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if response.StatusCode != 200 { // else it has no end
			body, _ := io.ReadAll(response.Body)
			text = string(body)
		}
		return response.StatusCode, text
	}
	var ears []*ear
	for range maxStreams {
		ears = append(ears, hark(t, http.DefaultClient, url+"/events"))
	}
	if status, text := another(); status != 503 || !strings.Contains(text, "16 clients listen") {
		t.Errorf("one more: %d %q", status, text)
	}
	var busy sync.WaitGroup
	for range maxConnections - 1 {
		busy.Go(func() { ask(t, "GET", url+"/healthz") })
	}
	for range maxConnections - 1 {
		within(t, "all places but one are taken", source.entered)
	}
	if response, err := client.Get(url + "/stats"); err != nil {
		t.Errorf("the last place: %v", err)
	} else {
		response.Body.Close()
	}
	close(source.release)
	busy.Wait()
	for _, e := range ears {
		e.until()
	}
	ears[0].leave()
	eventually(t, "a place is free again", func() bool {
		status, _ := another()
		return status == 200
	})
	client.CloseIdleConnections()
}

func TestAHeadOfTheEventsEnds(t *testing.T) {
	conn, err := net.Dial("tcp", strings.TrimPrefix(serve(t, apitest.NewSource(apitest.Example())), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(conn, "HEAD /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") || !strings.Contains(string(answer), "text/event-stream") {
		t.Errorf("%q, %v", answer, err)
	}
}

func TestCloseEndsEveryStreamAndCutsOffWhoDoesNotRead(t *testing.T) {
	source := apitest.NewSource(large())
	path := filepath.Join(t.TempDir(), "s.sock")
	stalled, err := Listen("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	other, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := Start(source, nil, slog.New(slog.DiscardHandler), stalled, other)
	slow, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	io.WriteString(slow, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
	e := hark(t, http.DefaultClient, "http://"+other.Address()+"/events")
	e.until()
	eventually(t, "both listen", func() bool {
		s.events.mu.Lock()
		defer s.events.mu.Unlock()
		return s.events.listeners == 2
	})
	ctx, patienceEnds := context.WithCancel(t.Context())
	defer patienceEnds()
	closed := make(chan error)
	go func() { closed <- s.Close(ctx) }()
	var last said
	for next, ok := e.hear(); ok; next, ok = e.hear() {
		last = next
	}
	if last.kind != "end" {
		t.Errorf("who reads hears %.80q at last", last)
	}
	patienceEnds()
	if err := <-closed; err == nil {
		t.Error("Close does not tell that it cut somebody off")
	}
	http.DefaultClient.CloseIdleConnections()
}
