// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// The routes: one table for all listeners.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/preforkd/preforkd/docs"
	"github.com/preforkd/preforkd/internal/api/web"
)

// assets is where the dashboard's files are.
const assets = "/assets/"

// route is one row of the table. A stats address serves the GET rows only, the control socket all of them.
type route struct {
	method, path string
	doc          string // one line for the index page
	handler      http.HandlerFunc
	stream       bool // goes on until the client leaves: each listener has maxStreams places for these
}

// routes returns the table for one source; without control nothing in it changes anything.
func routes(source Source, control Control, log *slog.Logger, events *hub, past *history) []route {
	turn := make(chan struct{}, 1)
	table := []route{
		get("/stats", "everything as JSON; docs/stats.md tells the fields", together(turn, nil, stats(source, log))),
		get("/metrics", "for Prometheus; docs/metrics.md tells the names", together(turn, sameScrape, metricsHandler(source, log))),
		get("/history", "the last hour in columns, one point every 2 seconds", together(turn, nil, past.serve)),
		{http.MethodGet, "/events", "the stats and what happens, as server-sent events", events.serve, true},
		get("/healthz", "200 while the supervisor's loop answers", healthz(source)),
		get("/readyz", "200 with at least one ready worker and no stop under way", readyz(source)),
		get("/openapi.json", "all of this for programs", openAPI),
	}
	if control != nil {
		table = append(table, orders(source, control)...)
	}
	return table
}

// mux serves the rows of the table that are for this kind of listener, and a page that lists them. net/http answers
// HEAD with GET's row and, with the Allow header, 405.
func mux(table []route, control bool) http.Handler {
	if !control {
		table = slices.DeleteFunc(slices.Clone(table), func(r route) bool { return r.method != http.MethodGet })
	}
	page := web.Handler()
	table = append(slices.Clip(table), get("/{$}", "this list; in a browser the dashboard", nil))
	table[len(table)-1].handler = home(page, index(table))
	m := http.NewServeMux()
	m.Handle(http.MethodGet+" "+assets, page)
	known := map[string]bool{}
	var there []string
	for _, r := range table {
		path := strings.TrimSuffix(r.path, "{$}")
		known[path] = true
		there = append(there, r.method+" "+path)
		if r.stream {
			r.handler = atMost(maxStreams, r.handler)
		}
		m.HandleFunc(r.method+" "+r.path, r.handler)
	}
	missing := "there is no such path here, only " + strings.Join(there, ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !known[r.URL.Path] && !strings.HasPrefix(r.URL.Path, assets) {
			http.Error(w, missing, http.StatusNotFound)
			return
		}
		m.ServeHTTP(w, r)
	})
}

func get(path, doc string, handler http.HandlerFunc) route {
	return route{method: http.MethodGet, path: path, doc: doc, handler: handler}
}

// atMost refuses a client beyond so many that are being answered.
func atMost(n int, next http.HandlerFunc) http.HandlerFunc {
	places := make(chan struct{}, n)
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
			next(w, r)
		default:
			http.Error(w, fmt.Sprintf("%d clients listen here already; close one of them", n), http.StatusServiceUnavailable)
		}
	}
}

func stats(source Source, log *slog.Logger) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		snapshot := source.Snapshot()
		if snapshot == nil {
			http.Error(w, "preforkd is starting", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ") // the first reader is a person with curl
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(snapshot); err != nil { // it writes all or nothing
			log.Error("cannot encode the stats", "error", err)
			http.Error(w, "cannot encode the stats: "+err.Error(), http.StatusInternalServerError)
		}
	}
}

func healthz(source Source) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if !source.Healthy() {
			http.Error(w, "the supervisor's loop has not answered for 5 seconds", http.StatusServiceUnavailable)
			return
		}
		say(w, "ok\n")
	}
}

func readyz(source Source) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if !source.Ready() {
			why := "no worker is ready"
			if snapshot := source.Snapshot(); snapshot != nil {
				why = "not ready: the fleet is " + string(snapshot.Supervisor.State)
			}
			http.Error(w, why, http.StatusServiceUnavailable)
			return
		}
		say(w, "ready\n")
	}
}

func openAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(docs.OpenAPI())
}

// home is the dashboard for a browser, which asks for HTML, and the index for everybody else.
func home(page http.Handler, index http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Accept")
		if strings.Contains(r.Header.Get("Accept"), "text/html") {
			page.ServeHTTP(w, r)
			return
		}
		index(w, r)
	}
}

func index(table []route) http.HandlerFunc {
	var page bytes.Buffer
	page.WriteString("preforkd\n\n")
	for _, r := range table {
		fmt.Fprintf(&page, "%-4s %-13s %s\n", r.method, strings.TrimSuffix(r.path, "{$}"), r.doc)
	}
	return func(w http.ResponseWriter, _ *http.Request) { say(w, page.String()) }
}

func say(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	io.WriteString(w, text)
}
