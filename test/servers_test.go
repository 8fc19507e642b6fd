// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: servers that know nothing of preforkd serve under --listen, each after an import of 3 seconds; none counts as
// ready before it answers; a graceful stop leaves nothing; a killed server's children end and are reaped; and a restart
// leaves the other workers alone.

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/preforkd/preforkd/internal/host"
	"github.com/preforkd/preforkd/supervisor"
)

// server is a command line. Its workers write a file named by their pid into $IMPORTED at the end of their import.
type server struct {
	name    string
	command func(t *testing.T) []string
	pool    bool // it serves from children of its own
}

func servers() []server {
	return []server{
		{"gunicorn-sync", func(t *testing.T) []string { return []string{venv(t, "gunicorn"), "apps:wsgi"} }, true},
		{"gunicorn-gthread", func(t *testing.T) []string {
			return []string{venv(t, "gunicorn"), "--worker-class", "gthread", "--threads", "4", "apps:wsgi"}
		}, true},
		{"uvicorn", func(t *testing.T) []string { return []string{venv(t, "uvicorn"), "--fd", "{fd:http}", "apps:asgi"} }, false},
		{"http.server", func(t *testing.T) []string { return []string{python(t, nil), script(t, "http_server.py")} }, false},
		{"blocking-accept", func(t *testing.T) []string { return []string{python(t, nil), script(t, "blocking_accept.py")} }, false},
		{"node", func(t *testing.T) []string { return []string{tool(t, "node"), script(t, "server.js")} }, false},
	}
}

func (s server) start(t *testing.T, workers int) *fleet {
	t.Helper()
	dir := place(t)
	imported := filepath.Join(dir, "imported")
	if err := os.Mkdir(imported, 0o755); err != nil {
		t.Fatal(err)
	}
	return start(t, spec{
		dir:     dir,
		flags:   []string{"-w", strconv.Itoa(workers), "--listen", "127.0.0.1:0"},
		command: s.command(t),
		env:     []string{"PYTHONPATH=" + script(t, "."), "IMPORTED=" + imported},
	})
}

func TestServersServeUnmodifiedAndAreNotReadyBefore(t *testing.T) {
	for _, s := range servers() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			f := s.start(t, 2)
			answered := false
			snap := f.until("two ready workers", func(snap *supervisor.Snapshot) bool {
				rows := ready(snap)
				for _, w := range rows {
					if !slices.ContainsFunc(host.Tree("/proc", *w.PID), f.imported) {
						t.Fatalf("worker %d is ready, but none of its processes has finished the import", w.ID)
					}
				}
				if len(rows) > 0 && !answered {
					answered = true
					if body, err := get(snap.Listen[0].Address); err != nil {
						t.Fatalf("worker %d is ready, but: %q, %v", rows[0].ID, body, err)
					}
				}
				return len(rows) == 2
			})
			f.answers(snap)
			if s.pool {
				f.killMaster(snap.Workers[0])
			}
			f.stop()
		})
	}
}

// imported tells whether a process has finished its import.
func (f *fleet) imported(pid int) bool {
	_, err := os.Stat(filepath.Join(f.dir, "imported", strconv.Itoa(pid)))
	return err == nil
}

// answers checks that the process that answers a request is one of a worker's.
func (f *fleet) answers(snap *supervisor.Snapshot) {
	f.t.Helper()
	body, err := get(snap.Listen[0].Address)
	pid, malformed := strconv.Atoi(body)
	if err != nil || malformed != nil {
		f.t.Fatalf("answer %q, %v", body, err)
	}
	for _, w := range snap.Workers {
		if w.PID != nil && slices.Contains(host.Tree("/proc", *w.PID), pid) {
			return
		}
	}
	f.t.Fatalf("process %d has answered, which is none of a worker's", pid)
}

// killMaster kills a server whose children serve. They end, are reaped by preforkd, and the slot is served again.
func (f *fleet) killMaster(w supervisor.Worker) {
	f.t.Helper()
	tree := host.Tree("/proc", *w.PID)
	if len(tree) < 2 {
		f.t.Fatalf("the server has no children: %v", tree)
	}
	if err := syscall.Kill(*w.PID, syscall.SIGKILL); err != nil {
		f.t.Fatal(err)
	}
	snap := f.until("a new server in the slot", func(s *supervisor.Snapshot) bool {
		return len(ready(s)) == 2 && s.Workers[w.ID].Incarnation == w.Incarnation+1
	})
	if exit := snap.Workers[w.ID].LastExit; exit == nil || exit.Signal != "SIGKILL" || exit.Reason != "crash" {
		f.t.Errorf("last exit %+v", exit)
	}
	within(f.t, patience, "the end of the killed server's children", func() bool {
		return !slices.ContainsFunc(tree, func(pid int) bool { _, there := look(pid); return there })
	})
	f.answers(snap)
}

// All workers share one listening socket, and what one of them does to it, all of them feel.
func TestARestartLeavesTheOtherWorkersAlone(t *testing.T) {
	for _, s := range servers() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			f := s.start(t, 2)
			snap := f.untilReady(2)
			victim := snap.Workers[0]
			if err := syscall.Kill(*victim.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			// From the moment of the new process until it is ready, the other one answers all requests.
			var now *supervisor.Snapshot
			f.until("the slot's next process", func(s *supervisor.Snapshot) bool {
				now = s
				return s.Workers[0].Incarnation == 2 && s.Workers[0].PID != nil
			})
			answered := 0
			pace := time.NewTicker(10 * time.Millisecond)
			defer pace.Stop()
			for ; now.Workers[0].Status == supervisor.StatusStarting; answered++ {
				<-pace.C
				if body, err := get(now.Listen[0].Address); err != nil {
					t.Fatalf("while worker 0 starts: %q, %v", body, err)
				}
				var err error
				if now, err = f.snapshot(); err != nil {
					t.Fatal(err)
				}
			}
			t.Logf("%d requests answered meanwhile", answered)
			if answered < 5 {
				t.Errorf("the other worker answered only %d requests in the 3 seconds of the restart", answered)
			}
			f.untilReady(2)
			f.stop()
		})
	}
}
