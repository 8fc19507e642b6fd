// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// The answers to orders that take a while.

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/preforkd/preforkd/internal/api/apitest"
	"github.com/preforkd/preforkd/supervisor"
)

// waiting is a Control whose orders wait until they are let go.
type waiting struct {
	apitest.Control
	begun, ended chan struct{}
	release      chan struct{}
}

func newWaiting() *waiting {
	w := &waiting{begun: make(chan struct{}, 100), ended: make(chan struct{}, 100), release: make(chan struct{})}
	w.Answer = func(ctx context.Context) (string, error) {
		w.begun <- struct{}{}
		defer func() { w.ended <- struct{}{} }()
		select {
		case <-w.release:
			return "done", nil
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
	return w
}

// within fails the test when nothing comes from c.
func within(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(20 * time.Second):
		t.Fatalf("not in time: %s", what)
	}
}

func TestProgressIsStreamedAsItChanges(t *testing.T) {
	source, control := apitest.NewSource(apitest.Example()), newWaiting()
	path := serveControl(t, source, control)
	show := func(done int) {
		s := apitest.Example()
		s.Supervisor.Operation = &supervisor.Operation{Kind: "reload", Phase: "rolling", Done: done, Total: 3}
		source.View.Store(s)
	}
	show(0)
	var seen []int
	text, err := Dial(path).Reload(t.Context(), nil, func(o supervisor.Operation) {
		seen = append(seen, o.Done)
		if o.Done == 3 {
			close(control.release)
			return
		}
		show(o.Done + 1)
	})
	if err != nil || text != "done" {
		t.Errorf("%q, %v", text, err)
	}
	if diff := cmp.Diff([]int{0, 1, 2, 3}, slices.Compact(seen)); diff != "" {
		t.Errorf("seen:\n%s", diff)
	}
	if taken := control.Taken(); len(taken) != 1 {
		t.Errorf("taken: %q", taken)
	}
}

// An order may take hours; the deadlines of its request are over in seconds.
func TestTheDeadlinesOfARequestDoNotEndAnOrder(t *testing.T) {
	source, control := apitest.NewSource(apitest.Example()), newWaiting()
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	log, places := slog.New(slog.DiscardHandler), make(chan struct{}, 1)
	server := newServer(mux(rows(source, control), true), log, places)
	server.ReadTimeout, server.WriteTimeout = 300*time.Millisecond, 400*time.Millisecond
	go server.Serve(&limited{Listener: listener, places: places, done: make(chan struct{})})
	defer server.Close()
	lines := 0
	show := func() {
		s := apitest.Example()
		s.Supervisor.Operation = &supervisor.Operation{Done: lines}
		source.View.Store(s)
	}
	show()
	text, err := Dial(listener.Addr().String()).Restart(t.Context(), nil, func(supervisor.Operation) {
		if lines++; lines == 8 { // each comes at least pollEvery after the one before
			close(control.release)
		}
		show()
	})
	if err != nil || text != "done" || lines < 8 {
		t.Errorf("after %d lines: %q, %v", lines, text, err)
	}
}

func TestAClientThatLeavesEndsOnlyItsOwnWaiting(t *testing.T) {
	control := newWaiting()
	path := serveControl(t, apitest.NewSource(apitest.Example()), control)
	ctx, leave := context.WithCancelCause(t.Context())
	result := make(chan error)
	go func() {
		_, err := Dial(path).Reload(ctx, nil, nil)
		result <- err
	}()
	within(t, "the order", control.begun)
	gone := errors.New("gone home")
	leave(gone)
	if err := <-result; !errors.Is(err, gone) {
		t.Errorf("the client's error is %v", err)
	}
	within(t, "the end of the waiting", control.ended)
	if taken := control.Taken(); len(taken) != 1 || taken[0] != "reload []" {
		t.Errorf("taken %q: leaving must order nothing", taken)
	}
	close(control.release)
	if text, err := Dial(path).Restart(t.Context(), nil, nil); err != nil || text != "done" {
		t.Errorf("the next order: %q, %v", text, err)
	}
}

func TestOrdersThatAreWaitedForAreInNobodysWay(t *testing.T) {
	control := newWaiting()
	path := serveControl(t, apitest.NewSource(apitest.Example()), control)
	var clients sync.WaitGroup
	for range maxWaiting {
		clients.Go(func() {
			if text, err := Dial(path).Reload(t.Context(), nil, nil); err != nil || text != "done" {
				t.Errorf("%q, %v", text, err)
			}
		})
	}
	for range maxWaiting {
		within(t, "all orders", control.begun)
	}
	for range maxConnections {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		_, _, err := Dial(path).Stats(ctx)
		cancel()
		if err != nil {
			t.Fatalf("stats behind %d orders: %v", maxWaiting, err)
		}
	}
	_, err := Dial(path).Scale(t.Context(), 3, nil)
	if failure, ok := errors.AsType[*supervisor.Error](err); !ok || failure.Kind != 1 ||
		!strings.Contains(err.Error(), "too many are being waited for") {
		t.Errorf("one order more: %v", err)
	}
	if _, err := Dial(path).Stop(t.Context(), true); err != nil {
		t.Errorf("a stop: %v", err)
	}
	close(control.release)
	clients.Wait()
}

// broken is the connection of a client that does not read: its write deadline has passed.
type broken struct{ http.ResponseWriter }

func (broken) Write([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }

func TestALineThatCannotBeSentEndsTheWaitingAndNotTheOrder(t *testing.T) {
	control := newWaiting()
	d := &desk{source: apitest.NewSource(apitest.Example()), places: make(chan struct{}, 1)}
	d.carryOut(broken{httptest.NewRecorder()}, httptest.NewRequest(http.MethodPost, "/", http.NoBody), control.Answer)
	within(t, "the order", control.begun)
	if len(d.places) != 1 {
		t.Error("the order's place is given to another while it is carried out")
	}
	close(control.release)
	within(t, "the end of the order", control.ended)
}

// An instance that hangs takes the connection all the same, and the order too.
func TestTheClientDoesNotWaitForAnInstanceThatHangs(t *testing.T) {
	for what, begin := range map[string]func(http.ResponseWriter){
		"no answer":      func(http.ResponseWriter) {},
		"half an answer": func(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() },
	} {
		listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body) // else net/http does not look out for the client's leaving
			begin(w)
			<-r.Context().Done()
		})}
		go server.Serve(listener)
		defer server.Close()
		client := Dial(listener.Addr().String())
		client.patience = 100 * time.Millisecond
		if _, err := client.Reload(t.Context(), nil, nil); err == nil ||
			!strings.HasPrefix(err.Error(), "cannot wait for the reload any longer") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
