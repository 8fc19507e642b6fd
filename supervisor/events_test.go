// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package supervisor_test

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/preforkd/preforkd/supervisor"
)

// brief is an event in short: "ready 1.2" or "done".
func brief(e supervisor.Event) string {
	text := string(e.Kind)
	if e.Worker != nil {
		text += fmt.Sprintf(" %d.%d", *e.Worker, e.Incarnation)
	}
	if e.Bad {
		text += " bad"
	}
	return text
}

func briefly(events []supervisor.Event) (list []string) {
	for _, e := range events {
		list = append(list, brief(e))
	}
	return list
}

func TestEventsTellWhatHappenedInOrder(t *testing.T) {
	at := newSite(t)
	at.put(t, "blob.bin", "the first")
	config := at.config(1, "")
	config.Data = []supervisor.Source{{Name: "blob", Source: at.path("blob.bin")}}
	f := run(t, config)
	f.untilReady(1)
	at.put(t, "blob.bin", "the second")
	if _, err := f.Reload(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"loaded", "started 0.1", "ready 0.1", "begun", "loaded", "started 0.2", "ready 0.2", "ended 0.1", "freed", "done",
	}
	events := f.Events(0)
	if got := briefly(events); !slices.Equal(got, want) {
		t.Errorf("events %q\nwant   %q", got, want)
	}
	for i, e := range events {
		if e.Seq != uint64(i+1) || e.At.IsZero() || e.Text == "" || (e.PID > 0) != (e.Worker != nil) {
			t.Errorf("event %d: %+v", i+1, e)
		}
	}
	if text := events[4].Text; !strings.HasPrefix(text, "blob version 2 loaded: 10 B in ") {
		t.Errorf("the load is told as %q", text)
	}
	seen := events[len(events)-1].Seq

	if err := syscall.Kill(*f.Snapshot().Workers[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	f.until("another worker", func(s *supervisor.Snapshot) bool {
		return s.Workers[0].Status == supervisor.StatusReady && s.Workers[0].Incarnation == 3
	})
	if _, err := f.Reload(t.Context(), nil, "nothing"); err == nil {
		t.Error("a reload of what is not there is done")
	}
	f.ScaleBy(1)
	f.untilReady(2)
	want = []string{"ended 0.2 bad", "started 0.3", "ready 0.3", "begun", "failed bad", "done", "started 1.1", "ready 1.1"}
	after := f.Events(seen)
	if got := briefly(after); !slices.Equal(got, want) {
		t.Errorf("events after that %q\nwant              %q", got, want)
	}
	if text := after[0].Text; !strings.Contains(text, "signal 9") || !strings.Contains(text, "crash") {
		t.Errorf("the crash is told as %q", text)
	}
	f.Stop()
	if err := f.wait(); err != nil {
		t.Error(err)
	}
	want = []string{"stopping", "ended 0.3", "ended 1.1", "freed"}
	got := briefly(f.Events(after[len(after)-1].Seq))
	slices.Sort(got[1:min(3, len(got))])
	if !slices.Equal(got, want) {
		t.Errorf("events of the end %q, want %q", got, want)
	}
	if late := f.Events(1 << 40); late != nil {
		t.Errorf("events of the future: %q", briefly(late))
	}
}
