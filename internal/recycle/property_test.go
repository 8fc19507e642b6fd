// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package recycle

// The promises of doc.go, for any policy and any story.

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func limits(t *rapid.T, name string, most int64) Limit {
	return Limit{
		Value:  rapid.Int64Range(0, most).Draw(t, name),
		Jitter: rapid.SampledFrom([]float64{0, 0.1, 0.5, 0.999, math.NaN(), -1, 2}).Draw(t, name+" jitter"),
	}
}

func TestALimitIsDrawnWithinItsJitter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := limits(t, "limit", math.MaxInt64)
		got := l.draw(rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)))
		switch spread := l.Jitter * float64(l.Value); {
		case l.Value == 0:
			if got != 0 {
				t.Fatalf("%+v gave %d, want never", l, got)
			}
		case !(l.Jitter > 0 && l.Jitter < 1):
			if got != l.Value {
				t.Fatalf("%+v gave %d", l, got)
			}
		case got < 1 || math.Abs(float64(got)-float64(l.Value)) > spread+1:
			t.Fatalf("%+v gave %d", l, got)
		}
	})
}

// Over the whole range, and evenly: each tenth of it gets between half and twice its share.
func TestLimitsAreSpreadOverTheWholeJitter(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	l := Limit{Value: 1000, Jitter: 0.1}
	const draws = 10_000
	var tenths [10]int
	least, most := int64(math.MaxInt64), int64(0)
	for range draws {
		n := l.draw(r)
		least, most = min(least, n), max(most, n)
		tenths[min((n-900)/20, 9)]++
	}
	if least != 900 || most != 1100 {
		t.Errorf("limits from %d to %d, want from 900 to 1100", least, most)
	}
	for i, n := range tenths {
		if n < draws/20 || n > draws/5 {
			t.Errorf("tenth %d has %d of %d draws", i, n, draws)
		}
	}
}

// story plays random news against a tracker; a plain list of what was told is the judge.
type story struct {
	*rapid.T
	tr       *Tracker
	now      Time
	ready    Time
	alive    Time
	requests int64
	readings []reading // those that the tracker had to take
	refused  bool
	verdicts map[Reason]int
}

type reading struct {
	bytes int64
	at    Time
}

func (s *story) tell() {
	switch rapid.IntRange(0, 5).Draw(s.T, "news") {
	case 0:
		s.tr.Ready(s.now)
		if s.ready == Never {
			s.ready, s.alive = s.now, s.now
		}
	case 1:
		s.tr.Alive(s.now)
		if s.ready != Never {
			s.alive = s.now
		}
	case 2:
		s.requests += rapid.Int64Range(0, 20).Draw(s.T, "requests")
		s.tr.Requests(s.requests)
	case 3, 4:
		s.read()
	case 5:
		s.now += time.Duration(rapid.Int64Range(0, int64(10*time.Second)).Draw(s.T, "wait"))
	}
}

func (s *story) read() {
	r := reading{
		bytes: rapid.Int64Range(0, 100).Draw(s.T, "private"),
		at:    max(0, s.now-time.Duration(rapid.IntRange(0, 2).Draw(s.T, "age"))*time.Second),
	}
	last := Time(-1)
	if len(s.readings) > 0 {
		last = s.readings[len(s.readings)-1].at
	}
	taken := s.ready != Never && r.at >= s.ready && r.at > last
	refusal, refused := s.tr.Private(r.bytes, r.at)
	if taken {
		s.readings = append(s.readings, r)
	}
	if !refused {
		return
	}
	switch {
	case s.refused:
		s.Fatal("refused twice")
	case !taken || len(s.readings) != 1:
		s.Fatal("refused by another reading than the first one")
	case r.at-s.ready > Fresh, r.bytes <= refusal.Limit, refusal.Private != r.bytes:
		s.Fatalf("refused by %+v, ready at %v: %+v", r, s.ready, refusal)
	}
	s.refused = true
}

// judge checks a verdict against what was told.
func (s *story) judge(v Verdict) {
	if s.ready == Never {
		s.Fatalf("%+v before ready", v)
	}
	s.verdicts[v.Reason]++
	if s.verdicts[Watchdog] > 1 || s.verdicts[MaxAge]+s.verdicts[MaxRequests]+s.verdicts[MaxPrivate] > 1 {
		s.Fatalf("once more: %+v, %v", v, s.verdicts)
	}
	switch v.Reason {
	case MaxAge:
		if s.now < s.tr.maxAge {
			s.Fatalf("%+v at %v", v, s.now)
		}
	case MaxRequests:
		if s.requests < s.tr.maxRequests {
			s.Fatalf("%+v with %d", v, s.requests)
		}
	case Watchdog:
		if s.now-s.alive < s.tr.watchdog {
			s.Fatalf("%+v at %v, alive at %v", v, s.now, s.alive)
		}
	case MaxPrivate:
		if s.refused || len(s.readings) < Samples {
			s.Fatalf("%+v after %+v", v, s.readings)
		}
		for _, r := range s.readings[len(s.readings)-Samples:] {
			if r.bytes <= s.tr.maxPrivate || r.at < s.ready+Settle {
				s.Fatalf("%+v after %+v, ready at %v, limit %d", v, s.readings, s.ready, s.tr.maxPrivate)
			}
		}
	}
}

func TestNoStoryBreaksAPromise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Policy{
			MaxAge:      limits(t, "age", int64(5*time.Minute)),
			MaxRequests: limits(t, "requests", 200),
			MaxPrivate:  limits(t, "private", 100),
			Watchdog:    time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "watchdog")),
		}
		s := &story{T: t, ready: Never, verdicts: map[Reason]int{}}
		s.tr = New(p, rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)), 0)
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			s.tell()
			for s.tr.Next() <= s.now {
				v, due := s.tr.Due(s.now)
				if !due {
					t.Fatalf("Next() is past and nothing is due at %v", s.now)
				}
				s.judge(v)
			}
			if v, due := s.tr.Due(s.now); due {
				t.Fatalf("Next() is later than %v and yet: %+v", s.now, v)
			}
			s.missed()
		}
	})
}

// missed checks that what had to come has come.
func (s *story) missed() {
	if s.ready == Never || s.verdicts[Watchdog] > 0 {
		return
	}
	if s.tr.watchdog > 0 && s.now-s.alive >= s.tr.watchdog {
		s.Fatalf("it hangs since %v, at %v", s.alive, s.now)
	}
	if s.verdicts[MaxAge]+s.verdicts[MaxRequests]+s.verdicts[MaxPrivate] > 0 {
		return
	}
	over := 0
	for _, r := range s.readings {
		switch {
		case r.bytes <= s.tr.maxPrivate:
			over = 0
		case r.at >= s.ready+Settle:
			over++
		}
	}
	switch {
	case s.tr.maxAge > 0 && s.now >= s.tr.maxAge:
		s.Fatalf("it is %v old", s.now)
	case s.tr.maxRequests > 0 && s.requests >= s.tr.maxRequests:
		s.Fatalf("%d requests", s.requests)
	case s.tr.maxPrivate > 0 && over >= Samples:
		s.Fatalf("readings %+v", s.readings)
	}
}

// A worker with every limit gets a verdict in the end, whatever it does, and then a hang.
func TestEveryLimitIsReachedInTheEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Policy{
			MaxAge:   Limit{Value: rapid.Int64Range(1, math.MaxInt64).Draw(t, "age"), Jitter: 0.5},
			Watchdog: time.Duration(rapid.Int64Range(1, math.MaxInt64).Draw(t, "watchdog")),
		}
		tr := New(p, fixed(), Time(rapid.Int64Range(0, math.MaxInt64/2).Draw(t, "start")))
		tr.Ready(tr.started)
		for tr.Next() != Never {
			next := tr.Next()
			if _, due := tr.Due(next); !due {
				t.Fatalf("Next() = %v and nothing is due then", next)
			}
		}
	})
}
