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
)

// route is one row of the table. A stats address serves the GET rows only, the control socket all of them.
type route struct {
	method, path string
	doc          string // one line for the index page
	handler      http.HandlerFunc
}

// routes returns the table for one source; without control nothing in it changes anything.
func routes(source Source, control Control, log *slog.Logger) []route {
	turn := make(chan struct{}, 1)
	asJSON, asText := inTurn(turn, stats(source, log)), inTurn(turn, metricsHandler(source, log))
	table := []route{
		{http.MethodGet, "/stats", "everything as JSON; docs/stats.md tells the fields", asJSON},
		{http.MethodGet, "/metrics", "for Prometheus; docs/metrics.md tells the names", asText},
		{http.MethodGet, "/healthz", "200 while the supervisor's loop answers", healthz(source)},
		{http.MethodGet, "/readyz", "200 with at least one ready worker and no stop under way", readyz(source)},
	}
	if control != nil {
		table = append(table, orders(source, control)...)
	}
	return table
}

// mux serves the rows of the table that are for this kind of listener, and a page that lists them. net/http answers HEAD
// with GET's row and, with the Allow header, 405.
func mux(table []route, control bool) http.Handler {
	if !control {
		table = slices.DeleteFunc(slices.Clone(table), func(r route) bool { return r.method != http.MethodGet })
	}
	table = append(slices.Clip(table), route{http.MethodGet, "/{$}", "this page", index(table)})
	m := http.NewServeMux()
	known := map[string]bool{}
	var there []string
	for _, r := range table {
		path := strings.TrimSuffix(r.path, "{$}")
		known[path] = true
		there = append(there, r.method+" "+path)
		m.HandleFunc(r.method+" "+r.path, r.handler)
	}
	missing := "there is no such path here, only " + strings.Join(there, ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !known[r.URL.Path] {
			http.Error(w, missing, http.StatusNotFound)
			return
		}
		m.ServeHTTP(w, r)
	})
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
