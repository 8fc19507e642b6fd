// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: the end of a worker that the OOM killer took is called so, in the log and in the stats; one that somebody else
// killed is not.

import (
	"strings"
	"syscall"
	"testing"

	"github.com/preforkd/preforkd/internal/host/cgrouptest"
	"github.com/preforkd/preforkd/supervisor"
)

func TestTheOOMKillersVictimIsNamed(t *testing.T) {
	asRoot(t)
	group := cgrouptest.New(t, limit)
	f := start(t, spec{
		through: enter(group), flags: []string{"-w", "2", "-l", "127.0.0.1:0"}, command: []string{python(t, nil), script(t, "hog.py")},
	})
	address := f.untilReady(2).Listen[0].Address
	if body, err := get(address + "/gigabyte"); err == nil {
		t.Fatalf("a gigabyte was there: %q", body)
	}
	snap := f.until("the victim's successor", func(s *supervisor.Snapshot) bool { return len(ready(s)) == 2 && sum(s, respawns) == 1 })
	if n := oomKills(t, group); n != 1 {
		t.Fatalf("the kernel killed %d processes, want 1", n)
	}
	victim := 0
	for _, w := range snap.Workers {
		if w.Incarnation == 2 {
			victim = w.ID
			if w.LastExit == nil || !w.LastExit.OOM || w.LastExit.Signal != "SIGKILL" || w.LastExit.Reason != "crash" {
				t.Errorf("last exit of the OOM killer's victim: %+v", w.LastExit)
			}
		}
	}

	other := snap.Workers[1-victim]
	if err := syscall.Kill(*other.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	snap = f.until("the other one's successor", func(s *supervisor.Snapshot) bool { return len(ready(s)) == 2 && sum(s, respawns) == 2 })
	if exit := snap.Workers[other.ID].LastExit; exit == nil || exit.OOM || exit.Signal != "SIGKILL" {
		t.Errorf("last exit of the one that was killed from outside: %+v", exit)
	}
	hints := []string{}
	for _, line := range f.logged("worker ended") {
		if hint, ok := line["hint"].(string); ok {
			hints = append(hints, hint)
		}
	}
	if len(hints) != 2 || !strings.HasPrefix(hints[0], "the OOM killer") || !strings.HasPrefix(hints[1], "killed from outside") {
		t.Errorf("the log says: %q", hints)
	}
	f.stop()
}
