// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/json"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/preforkd/preforkd/internal/api/apitest"
	"github.com/preforkd/preforkd/supervisor"
)

// past is what /history answers, by column.
type past map[string][]*int64

func parsePast(t *testing.T, body []byte) past {
	t.Helper()
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(body, &raw); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	if string(raw["interval"]) != "2" {
		t.Errorf("interval %s", raw["interval"])
	}
	delete(raw, "interval")
	out := past{}
	for name, text := range raw {
		var column []*int64
		if err := json.Unmarshal(text, &column); err != nil || column == nil {
			t.Errorf("%s: %v", name, err)
		}
		out[name] = column
		if len(column) != len(out["at"]) && out["at"] != nil {
			t.Errorf("%s has %d points, at %d", name, len(column), len(out["at"]))
		}
	}
	return out
}

func later(s *supervisor.Snapshot, seconds float64) *supervisor.Snapshot {
	s.Supervisor.Uptime += seconds
	return s
}

func TestHistoryIsWhatTheSnapshotsSaid(t *testing.T) {
	h := &history{}
	if got := parsePast(t, h.json()); len(got) != 9 || len(got["at"]) != 0 {
		t.Errorf("before the first point: %v", got)
	}
	loading, running, rich := apitest.Loading(), later(apitest.Example(), 2), later(apitest.Rich(), 4.9)
	for _, s := range []*supervisor.Snapshot{loading, running, rich} {
		h.add(pointOf(s))
	}
	started := loading.Supervisor.StartedAt.Unix()
	m := [3]*supervisor.Memory{&loading.Memory, &running.Memory, &rich.Memory}
	want := past{
		"at":              {new(started + 1), new(started + 102), new(started + 104)},
		"used":            {nil, m[1].Used, nil},
		"saved":           {nil, m[1].Saved, m[2].Saved},
		"without_sharing": {nil, m[1].WithoutSharing, nil},
		"data":            {&m[0].Data, &m[1].Data, &m[2].Data},
		"rss":             {nil, m[1].RSS, m[2].RSS},
		"private":         {nil, m[1].Private, m[2].Private},
		"ready":           {new(int64(0)), new(int64(2)), new(int64(2))},
		"workers":         {new(int64(0)), new(int64(2)), new(int64(4))},
	}
	if diff := cmp.Diff(want, parsePast(t, h.json())); diff != "" {
		t.Error(diff)
	}
}

// Before the first worker there is no saving, not one of 0: a line through such points would begin with a fall to nothing.
func TestNothingIsSavedInTheHistoryWhileTheDataIsBeingLoaded(t *testing.T) {
	s := apitest.Example()
	s.Workers, s.Supervisor.State = nil, supervisor.StateLoading
	s.Memory.Saved, s.Memory.WithoutSharing = new(int64(0)), s.Memory.Used
	h := &history{}
	h.add(pointOf(s))
	got := parsePast(t, h.json())
	if got["saved"][0] != nil || got["without_sharing"][0] != nil || got["used"][0] == nil || got["data"][0] == nil {
		t.Errorf("saved %v, without %v, used %v, data %v", got["saved"][0], got["without_sharing"][0], got["used"][0], got["data"][0])
	}
}

func TestHistoryKeepsAnHourInOrder(t *testing.T) {
	h := &history{}
	const n = historyKept + 700
	for i := range int64(n) {
		h.add(point{100 + 2*i, i})
		h.add(point{100 + 2*i, -i}) // a second tick in the same second
		h.add(point{99, -i})
	}
	got := parsePast(t, h.json())
	at, used := got["at"], got["used"]
	if len(at) != historyKept || *at[0] != 100+2*700 || *at[historyKept-1] != 100+2*(n-1) {
		t.Fatalf("%d points from %d to %d", len(at), *at[0], *at[len(at)-1])
	}
	if !slices.IsSortedFunc(at, func(a, b *int64) int { return int(*a - *b) }) || *used[0] != 700 {
		t.Error("the points are not in order")
	}
}

func TestHistoryBeginsAtOnceAndHasAPointEveryTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, h, done := apitest.NewSource(nil), &history{}, make(chan struct{})
		source.View.Store(apitest.Loading())
		var running sync.WaitGroup
		running.Go(func() { h.run(source, done) })
		synctest.Wait()
		if len(h.points) != 1 {
			t.Errorf("%d points at first", len(h.points))
		}
		for i := range 3 {
			source.View.Store(later(apitest.Loading(), float64(2*i+2)))
			pass(2 * time.Second)
		}
		if len(h.points) != 4 {
			t.Errorf("%d points after 6 seconds", len(h.points))
		}
		source.View.Store(nil)
		pass(time.Minute)
		if len(h.points) != 4 {
			t.Errorf("%d points without a snapshot", len(h.points))
		}
		close(done)
		running.Wait()
	})
}

func TestHistoryIsServed(t *testing.T) {
	url := serve(t, apitest.NewSource(apitest.Loading()))
	eventually(t, "a point", func() bool {
		response, body := ask(t, "GET", url+"/history")
		if response.StatusCode != 200 || response.Header.Get("Content-Type") != "application/json" {
			t.Fatalf("%s, %s", response.Status, response.Header.Get("Content-Type"))
		}
		return len(parsePast(t, []byte(body))["at"]) == 1
	})
}

func TestTheTimeOfAPointIsItsSnapshots(t *testing.T) {
	s := apitest.Example()
	s.Supervisor.StartedAt, s.Supervisor.Uptime = time.Unix(1000, 900_000_000), 1.5
	if p := pointOf(s); p[0] != 1002 {
		t.Errorf("at %d", p[0])
	}
}
