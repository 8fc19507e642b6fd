// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestBackoffDoublesUpToItsMaximumAndNeverOverflows(t *testing.T) {
	s := time.Second
	for _, c := range []struct {
		least, most Time
		k           int
		want        Time
	}{
		{s / 2, 30 * s, 1, s / 2},
		{s / 2, 30 * s, 2, s},
		{s / 2, 30 * s, 6, 16 * s},
		{s / 2, 30 * s, 7, 30 * s},
		{s / 2, 30 * s, math.MaxInt, 30 * s},
		{s / 2, s, 2, s},
		{1, Never, math.MaxInt, longest},
		{0, 0, math.MaxInt, 1},
		{5 * s, s, 1, 5 * s},
	} {
		got := New(Config{BackoffMin: c.least, BackoffMax: c.most}).Config.backoff(c.k)
		if got != c.want {
			t.Errorf("from %v to %v, failure %d: %v, want %v", c.least, c.most, c.k, got, c.want)
		}
	}
}

func TestJitterAddsUpToATenthAndDependsOnTheSeedAlone(t *testing.T) {
	var low, high int
	a, b := step{State: New(Config{Seed: 7})}, step{State: New(Config{Seed: 7})}
	for range 10_000 {
		d := a.jitter(time.Second)
		switch {
		case d < time.Second || d > 1100*time.Millisecond:
			t.Fatalf("jitter made 1s into %v", d)
		case d < 1010*time.Millisecond:
			low++
		case d > 1090*time.Millisecond:
			high++
		}
		if b.jitter(time.Second) != d {
			t.Fatal("one seed gives two sequences")
		}
	}
	if low < 800 || high < 800 { // a tenth of 10,000 each
		t.Errorf("%d near the low end, %d near the high one", low, high)
	}
}

func TestDeadlinesFarAheadAreNever(t *testing.T) {
	for _, c := range []struct{ now, d, want Time }{
		{0, 5, 5},
		{-3, 5, 2},
		{10, Never, Never},
		{10, Never - 10, Never},
		{10, Never - 11, Never - 1},
	} {
		if got := after(c.now, c.d); got != c.want {
			t.Errorf("%d after %d is %d, want %d", c.d, c.now, got, c.want)
		}
	}
	s := New(Config{Workers: 1, StartTimeout: Never, StopTimeout: Never})
	s, _ = Step(s, time.Hour, Boot{})
	if s.Next() != Never {
		t.Errorf("a start without limit ends in %v", s.Next())
	}
	s, _ = Step(s, time.Hour, Stop{})
	if s.Next() != Never {
		t.Errorf("a stop without limit ends in %v", s.Next())
	}
}

func TestTheSlotThatIsDueLongestGoesFirst(t *testing.T) {
	s := New(Config{Workers: 3, MaxStarting: 1, StartTimeout: Never, RespawnEvery: 0})
	at := func(now Time, ev Event) (actions []Action) {
		s, actions = Step(s, now, ev)
		return actions
	}
	for i, ev := range []Event{
		Boot{}, Spawned{ID{0, 1}, 1}, Ready{ID{0, 1}}, Spawned{ID{1, 1}, 2}, Ready{ID{1, 1}}, Spawned{ID{2, 1}, 3},
	} {
		at(Time(i), ev)
	}
	at(20, Exited{ID{1, 1}, Exit{}}) // worker 2 still starts: both wait
	at(21, Exited{ID{0, 1}, Exit{}})
	if got := list(at(30, Ready{ID{2, 1}})); got != "spawn 1#2" {
		t.Errorf("%s goes first, want slot 1, which waits since 20", got)
	}
}

func TestTheTableHasNoHoles(t *testing.T) {
	table := Table()
	for _, at := range situations() {
		if len(at.only) > 0 {
			continue
		}
		for _, ev := range events(at.id) {
			if ev.deadline && at.state.Next() == Never {
				continue
			}
			found := 0
			for line := range strings.Lines(table) {
				cells := strings.Split(line, " | ")
				if strings.TrimPrefix(cells[0], "| ") == at.name && strings.Contains(", "+cells[1]+",", ", "+ev.name+",") {
					found++
				}
			}
			if found != 1 {
				t.Errorf("%q, %q: %d rows, want 1", at.name, ev.name, found)
			}
		}
	}
}

func TestEveryNameIsKnown(t *testing.T) {
	for _, r := range Reasons() {
		if strings.Contains(r.String(), "unknown") || r == ReasonNone {
			t.Errorf("reason %d is %v", r, r)
		}
	}
	if len(Reasons()) != int(reasons)-1 {
		t.Errorf("%d reasons listed of %d", len(Reasons()), reasons-1)
	}
	if got := reasons.String(); got != "unknown(13)" {
		t.Errorf("a reason beyond the last is %q", got)
	}
}
