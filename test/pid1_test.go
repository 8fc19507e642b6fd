// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: preforkd reaps what its workers leave behind, as PID 1 of a container and as a subreaper, without ever taking
// the exit status of a worker: 1,000 of them at once, twice; and a stop ends what a worker left running.

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/supervisor"
)

func TestOrphansAreReaped(t *testing.T) {
	t.Run("subreaper", func(t *testing.T) { testOrphans(t, spec{}, 100) })
	t.Run("pid-1", func(t *testing.T) {
		asRoot(t)
		unshare := tool(t, "unshare")
		testOrphans(t, spec{through: []string{unshare, "--pid", "--fork", "--mount-proc", "--kill-child"}, forks: true}, 1000)
	})
}

func testOrphans(t *testing.T, s spec, orphans int) {
	s.dir = place(t)
	path := filepath.Join(s.dir, "gate")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	gate, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer gate.Close()
	s.flags = []string{"-w", "1", "--ready", "notify"}
	s.command = []string{python(t, nil), "-S", script(t, "orphans.py")}
	s.env = []string{fmt.Sprint("ORPHANS=", orphans)}
	f := start(t, s)
	if snap := f.untilReady(1); s.forks && snap.Supervisor.PID != 1 {
		t.Fatalf("preforkd has pid %d, want 1", snap.Supervisor.PID)
	}
	if n := len(children(t, f.pid)); n != 1+orphans {
		t.Fatalf("preforkd has %d children, want the worker and %d orphans", n, orphans)
	}
	if _, err := gate.Write(make([]byte, orphans)); err != nil {
		t.Fatal(err)
	}
	within(t, patience, "all orphans are reaped", func() bool { return len(children(t, f.pid)) == 1 })

	// The next incarnation leaves as many. What the killed one left is told to stop with it.
	if err := syscall.Kill(children(t, f.pid)[0].pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	snap := f.until("a second incarnation", func(s *supervisor.Snapshot) bool {
		return len(ready(s)) == 1 && s.Workers[0].Incarnation == 2
	})
	if exit := snap.Workers[0].LastExit; exit == nil || exit.Signal != "SIGKILL" || exit.Reason != "crash" {
		t.Errorf("last exit %+v: its status has gone astray", exit)
	}
	if n := len(children(t, f.pid)); n != 1+orphans {
		t.Errorf("preforkd has %d children, want the worker and %d orphans", n, orphans)
	}
	f.stop()
}
