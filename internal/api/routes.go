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
)

// route is one row of the table. A stats address serves the GET rows only, the control socket all of them.
type route struct {
	method, path string
	doc          string // one line for the index page
	handler      http.HandlerFunc
}

// routes returns the table for one source.
func routes(source Source, log *slog.Logger) []route {
	turn := make(chan struct{}, 1)
	asJSON, asText := inTurn(turn, stats(source, log)), inTurn(turn, metricsHandler(source, log))
	table := []route{
		{http.MethodGet, "/stats", "everything as JSON; docs/stats.md tells the fields", asJSON},
		{http.MethodGet, "/metrics", "for Prometheus; docs/metrics.md tells the names", asText},
		{http.MethodGet, "/healthz", "200 while the supervisor's loop answers", healthz(source)},
		{http.MethodGet, "/readyz", "200 with at least one ready worker and no stop under way", readyz(source)},
	}
	return append(table, route{http.MethodGet, "/{$}", "this page", index(table)})
}

// mux serves the table. net/http answers HEAD with GET's row, 404 and, with the Allow header, 405.
func mux(table []route, control bool) *http.ServeMux {
	m := http.NewServeMux()
	for _, r := range table {
		if control || r.method == http.MethodGet {
			m.HandleFunc(r.method+" "+r.path, r.handler)
		}
	}
	return m
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

func index(table []route) http.HandlerFunc {
	var page bytes.Buffer
	page.WriteString("preforkd\n\n")
	for _, r := range table {
		fmt.Fprintf(&page, "%-4s %-9s %s\n", r.method, r.path, r.doc)
	}
	return func(w http.ResponseWriter, _ *http.Request) { say(w, page.String()) }
}

func say(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	io.WriteString(w, text)
}
