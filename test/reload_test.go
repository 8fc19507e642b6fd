// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: under a load of new connections at full speed a rolling reload every 5 seconds, and 50 graceful restarts of single
// workers, lose not one request, with gunicorn, uvicorn, the standard library and the example; each reload replaces every
// worker, and never is there more than one worker beyond those wanted.

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/preforkd/preforkd/supervisor"
)

// webserver is a real server with an application that starts quickly.
type webserver struct {
	name    string
	flags   []string
	command func(t *testing.T) []string
	data    func(t *testing.T) []string // flags for what it needs of data
	path    string
}

func webservers() []webserver {
	uvicorn := func(t *testing.T) []string {
		return []string{venv(t, "uvicorn"), "--log-level", "warning", "--no-access-log", "--fd", "{fd:http}", "web:asgi"}
	}
	return []webserver{
		{name: "gunicorn-sync", command: func(t *testing.T) []string { return []string{venv(t, "gunicorn"), "web:wsgi"} }},
		{name: "uvicorn", command: uvicorn},
		{name: "uvicorn-reuseport", flags: []string{"--accept", "reuseport"}, command: uvicorn},
		{
			name: "example", command: func(t *testing.T) []string { return []string{venv(t, "python"), "../examples/python/app.py"} },
			data: embeddings, path: "/neighbours?word=frog&k=5",
		},
		{name: "http.server", command: func(t *testing.T) []string { return []string{python(t, nil), script(t, "stdlib.py")} }},
	}
}

// start runs n workers of the server, waits until they are ready and returns a load for them.
func (w webserver) start(t *testing.T, n int, flags ...string) (*fleet, load) {
	t.Helper()
	s := spec{
		flags:   slices.Concat([]string{"-w", fmt.Sprint(n), "--listen", "127.0.0.1:0"}, w.flags, flags),
		command: w.command(t),
		env:     []string{"PYTHONPATH=" + script(t, "."), "PYTHONUNBUFFERED=1"},
	}
	for i, word := range s.command {
		if strings.HasPrefix(word, "../") {
			path, err := filepath.Abs(word)
			if err != nil {
				t.Fatal(err)
			}
			s.command[i] = path
		}
	}
	if w.data != nil {
		s.flags = append(s.flags, w.data(t)...)
	}
	f := start(t, s)
	l := load{clients: 32, address: f.untilReady(n).Listen[0].Address, path: w.path}
	right, err := w.right(l)
	if err != nil {
		t.Fatal(err)
	}
	l.right = right
	return f, l
}

// right tells which answers are: they differ by the pid of the worker only.
func (w webserver) right(l load) (func(body string) bool, error) {
	cut := func(body string) string {
		for _, after := range []string{", release", `"neighbours"`} {
			if i := strings.Index(body, after); i >= 0 {
				return body[i:]
			}
		}
		return ""
	}
	first, err := get(l.address + l.path)
	if err == nil && cut(first) == "" {
		err = fmt.Errorf("answer %q", first)
	}
	return func(body string) bool { return cut(body) == cut(first) }, err
}

// embeddings makes small data for the example.
func embeddings(t *testing.T) []string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command(venv(t, "python"), "-c", `
import numpy
rows = numpy.random.default_rng(1).normal(size=(2000, 50)).astype(numpy.float32)
numpy.save("emb.npy", rows / numpy.linalg.norm(rows, axis=1, keepdims=True))
numpy.save("words.npy", numpy.array(sorted([b"frog", *(b"w%d" % i for i in range(1999))])))
`)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return []string{"-d", "emb=" + filepath.Join(dir, "emb.npy"), "-d", "words=" + filepath.Join(dir, "words.npy")}
}

func TestReloadsUnderFullLoadLoseNothing(t *testing.T) {
	const n = 4
	for _, w := range webservers() {
		t.Run(w.name, func(t *testing.T) {
			f, l := w.start(t, n)
			count, stop := f.watch(n), l.start(t)
			reloads := 0
			every := time.NewTicker(5 * time.Second) // the scenario, not a wait
			defer every.Stop()
			for end := time.Now().Add(lasting()); time.Now().Before(end); <-every.C {
				before := f.settled(n)
				begin := time.Now()
				text := f.must("reload")
				after := f.settled(n)
				reloads++
				t.Logf("reload %d took %v: %s", reloads, time.Since(begin).Round(time.Millisecond), text)
				replacedAll(t, before, after)
				if last := after.Supervisor.LastReload; last == nil || last.Result != supervisor.ReloadDone || last.Error != "" {
					t.Errorf("last reload: %+v", last)
				}
			}
			result, seen := stop(), count()
			t.Logf("%d reloads: %v; at most %d workers", reloads, result, seen.most)
			result.nothingLost(t)
			if seen.most > n+1 || seen.listed > n+1 {
				t.Errorf("there were %d workers at once, and %d in the stats, want at most %d", seen.most, seen.listed, n+1)
			}
			if seen.most < n+1 {
				t.Errorf("the count has never seen the new worker beside the old ones: it shows nothing")
			}
			f.stop()
		})
	}
}

// replacedAll checks that in each slot another process serves, one incarnation later.
func replacedAll(t *testing.T, before, after *supervisor.Snapshot) {
	t.Helper()
	if len(before.Workers) != len(after.Workers) {
		t.Fatalf("%d workers before, %d after", len(before.Workers), len(after.Workers))
	}
	for i, w := range after.Workers {
		old := before.Workers[i]
		if slices.Contains(mainPIDs(before), *w.PID) || w.Incarnation != old.Incarnation+1 {
			t.Errorf("slot %d: pid %d, incarnation %d before; pid %d, incarnation %d after", w.ID, *old.PID, old.Incarnation, *w.PID, w.Incarnation)
		}
		if w.LastExit == nil || w.LastExit.Reason != "reload" {
			t.Errorf("slot %d: last exit %+v, want a reload", w.ID, w.LastExit)
		}
	}
}

func TestFiftyGracefulRestartsUnderFullLoadLoseNothing(t *testing.T) {
	const n, restarts = 4, 50
	for _, w := range webservers() {
		if w.name == "http.server" {
			continue // its way to stop is the example's
		}
		t.Run(w.name, func(t *testing.T) {
			f, l := w.start(t, n)
			stop := l.start(t)
			for i := range restarts {
				if text, err := f.post("/restart", fmt.Sprintf(`{"ids":[%d]}`, i%n)); err != nil {
					t.Fatalf("restart %d: %q, %v", i, text, err)
				}
			}
			result := stop()
			t.Logf("%d restarts: %v", restarts, result)
			result.nothingLost(t)
			snap := f.settled(n)
			if got := sum(snap, respawns); got != restarts {
				t.Errorf("workers were started %d times again, want %d", got, restarts)
			}
			if got := f.metric(`preforkd_worker_exits_total{reason="restart"}`); got != restarts {
				t.Errorf("%v workers ended by a restart, want %d", got, restarts)
			}
			f.stop()
		})
	}
}
