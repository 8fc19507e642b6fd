// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// What the hub does when, by a clock that the test moves.

import (
	"bytes"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/preforkd/preforkd/internal/api/apitest"
	"github.com/preforkd/preforkd/supervisor"
)

// inTime runs a hub in a bubble where a minute takes no time.
func inTime(t *testing.T, source Source, log *slog.Logger, test func(h *hub)) {
	synctest.Test(t, func(*testing.T) {
		h := newHub(source, log)
		var running sync.WaitGroup
		running.Go(h.run)
		test(h)
		h.end()
		running.Wait()
	})
}

// pass lets that much time pass and everybody come to rest.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestNothingIsMadeWhileNobodyListens(t *testing.T) {
	source := apitest.NewSource(apitest.Example())
	inTime(t, source, slog.New(slog.DiscardHandler), func(h *hub) {
		pass(time.Hour)
		h.join()
		pass(time.Millisecond)
		h.leave()
		asked := source.Asked.Load()
		if asked != 1 {
			t.Errorf("%d snapshots for one listener of a millisecond", asked)
		}
		pass(time.Hour)
		if n := source.Asked.Load(); n != asked {
			t.Errorf("%d snapshots while nobody listens", n-asked)
		}
		if h.latest().told {
			t.Error("the last listener's frame is kept")
		}
		h.join()
		pass(time.Millisecond)
		if !h.latest().told {
			t.Error("the next listener has to wait")
		}
		h.leave()
	})
}

func TestASnapshotIsMadeOnceForAllAndAtMostFourTimesASecond(t *testing.T) {
	source := apitest.NewSource(apitest.Example())
	changed := make(chan struct{})
	inTime(t, still{source, changed}, slog.New(slog.DiscardHandler), func(h *hub) {
		for range maxStreams {
			h.join()
		}
		pass(time.Millisecond)
		before := source.Asked.Load()
		pass(10 * time.Second)
		if n := source.Asked.Load() - before; n != 10 {
			t.Errorf("%d snapshots in 10 seconds without a change, want 10", n)
		}
		close(changed) // changes without end
		before = source.Asked.Load()
		pass(10 * time.Second)
		if n := source.Asked.Load() - before; n != 40 {
			t.Errorf("%d snapshots in 10 seconds of changes, want 40", n)
		}
	})
}

// still is a source whose Updated is a channel of the test's bubble.
type still struct {
	*apitest.Source
	changed chan struct{}
}

func (s still) Updated() <-chan struct{} { return s.changed }

func TestTheFirstOfTheNextListenersDoesNotWaitForATick(t *testing.T) {
	source := apitest.NewSource(apitest.Example())
	inTime(t, source, slog.New(slog.DiscardHandler), func(h *hub) {
		h.join()
		pass(tellEvery / 2)
		h.leave()
		h.join()
		synctest.Wait()
		if !h.latest().told {
			t.Error("it has to wait")
		}
	})
}

func TestAListenerBehindManyFramesMissesNoEvent(t *testing.T) {
	source := apitest.NewSource(apitest.Example())
	inTime(t, source, slog.New(slog.DiscardHandler), func(h *hub) {
		h.join()
		pass(time.Second)
		old := h.latest()
		for range 100 {
			happen(source, 1)
			pass(time.Second)
		}
		got := h.latest().after(old.lastSeq())
		if len(got) != 100 || got[0].seq != 1 || got[99].seq != 100 {
			t.Errorf("%d events", len(got))
		}
		if !closed(old.next) || len(old.events) > 0 {
			t.Error("the old frame has changed, or nobody was told of the next")
		}
	})
}

func TestWhatIsNoJSONIsLoggedOnceAndTheRestIsTold(t *testing.T) {
	s := apitest.Example()
	s.Sampler.Interval = math.NaN()
	source := apitest.NewSource(s)
	happen(source, 1)
	var out bytes.Buffer
	inTime(t, source, slog.New(slog.NewTextHandler(&out, nil)), func(h *hub) {
		h.join()
		pass(10 * time.Second)
		if f := h.latest(); len(f.stats) > 0 || len(f.events) != 1 {
			t.Errorf("%q and %d events", f.stats, len(f.events))
		}
		s := apitest.Example()
		s.Supervisor.Name = "<\u2028&>"
		source.View.Store(s)
		pass(10 * time.Second)
		if text := string(h.latest().stats); strings.Count(text, "\n") != 3 || !strings.Contains(text, `"<\u2028&>"`) {
			t.Errorf("%q", text)
		}
	})
	if n := strings.Count(out.String(), "cannot encode"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, &out)
	}
}

func TestWhoComesAfterTheEndHearsIt(t *testing.T) {
	source := apitest.NewSource(apitest.Example())
	source.Happen(supervisor.Event{Kind: supervisor.EventStopping, Text: "stopping"})
	h := newHub(source, slog.New(slog.DiscardHandler))
	h.end()
	h.end()
	h.run()
	h.join()
	h.leave()
	h.join()
	if f := h.latest(); !f.last || len(f.stats) == 0 || len(f.events) != 1 {
		t.Errorf("%+v", f)
	}
}
