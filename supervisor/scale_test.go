// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package supervisor_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/preforkd/preforkd/supervisor"
)

func TestOneWorkerCanBeRestarted(t *testing.T) {
	at := newSite(t)
	f := run(t, at.config(3, ""))
	before := pids(f.untilReady(3))
	if text, err := f.Restart(t.Context(), 1); err != nil || text != "1 worker replaced" {
		t.Errorf("Restart: %q, %v", text, err)
	}
	after := pids(f.Snapshot())
	if after[0] != before[0] || after[1] == before[1] || after[2] != before[2] {
		t.Errorf("workers %v, were %v", after, before)
	}
	if _, err := f.Restart(t.Context(), 3); kindOf(err) != supervisor.KindConfig {
		t.Errorf("Restart of a worker that is not there: %v", err)
	}
	if text, err := f.Restart(t.Context()); err != nil || text != "3 workers replaced" {
		t.Errorf("Restart of all: %q, %v", text, err)
	}
}

func TestTheFleetCanBeScaled(t *testing.T) {
	at := newSite(t)
	f := run(t, at.config(2, ""))
	before := pids(f.untilReady(2))
	if text, err := f.Scale(t.Context(), 4); err != nil || text != "4 workers are ready" {
		t.Errorf("Scale: %q, %v", text, err)
	}
	if snap := f.Snapshot(); len(snap.Workers) != 4 || !slices.Equal(pids(snap)[:2], before) {
		t.Errorf("workers %v, were %v", pids(snap), before)
	}
	if _, err := f.Scale(t.Context(), 1); err != nil || len(f.Snapshot().Workers) != 1 || *f.Snapshot().Workers[0].PID != before[0] {
		t.Errorf("Scale to 1: %v, rows %v", err, pids(f.Snapshot()))
	}
	if c := f.Counters(); c.ExitsByReason["scale"] != 3 {
		t.Errorf("counters: %+v", c)
	}
	f.ScaleBy(1)
	again := f.untilReady(2)
	if again.Workers[1].Incarnation != 2 {
		t.Errorf("the slot that came back: %+v", again.Workers[1])
	}
	f.ScaleBy(-5)
	f.until("one worker", func(s *supervisor.Snapshot) bool { return len(s.Workers) == 1 })
	if _, err := f.Scale(t.Context(), 0); kindOf(err) != supervisor.KindConfig {
		t.Errorf("Scale to 0: %v", err)
	}
	at.put(t, "broken", "")
	if _, err := f.Scale(t.Context(), 2); kindOf(err) != supervisor.KindFleet || !strings.Contains(err.Error(), "worker 1 was not ready in 3 starts") {
		t.Errorf("Scale with a broken program: %v", err)
	}
}

func TestWithoutASurgeTheOldWorkerGoesFirst(t *testing.T) {
	at := newSite(t)
	config := at.config(3, "")
	config.Surge = new(0)
	f := run(t, config)
	f.untilReady(3)
	most, watching := watchProcesses(f)
	_, err := f.Reload(t.Context(), nil)
	watching()
	if err != nil || *most > 3 {
		t.Errorf("Reload: %v, %d processes at once", err, *most)
	}
}

func TestSlotsThatComeHaveTheirSockets(t *testing.T) {
	at := newSite(t)
	config := at.config(2, "")
	config.Listen, config.Accept = []string{"127.0.0.1:0"}, "reuseport"
	f := run(t, config)
	f.untilReady(2)
	if _, err := f.Scale(t.Context(), 3); err != nil {
		t.Errorf("Scale: %v", err)
	}
	next := config
	next.Workers = 4
	if text, err := f.Reload(t.Context(), func() (supervisor.Config, error) { return next, nil }); err != nil || text != "4 workers replaced" {
		t.Errorf("Reload with more workers: %q, %v", text, err)
	}
	if _, err := f.Scale(t.Context(), 1); err != nil {
		t.Errorf("Scale down: %v", err)
	}
	if c := f.Counters(); c.ExitsByReason["spawn-failed"] != 0 {
		t.Errorf("counters: %+v", c)
	}
}
