// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// This file plays random worlds with up to 16 slots and random rules, under the explorer's observer.

func randomConfig(t *rapid.T) Config {
	wait := func(name string, least, most time.Duration) time.Duration {
		return time.Duration(rapid.Int64Range(int64(least), int64(most)).Draw(t, name))
	}
	c := Config{
		Workers:      rapid.IntRange(1, 16).Draw(t, "workers"),
		MaxStarting:  rapid.IntRange(1, 16).Draw(t, "max starting"),
		Surge:        rapid.IntRange(0, 3).Draw(t, "surge"),
		RespawnBurst: rapid.IntRange(0, 10).Draw(t, "respawn burst"),
		RollFailures: rapid.IntRange(1, 5).Draw(t, "roll failures"),
		GiveUpAfter:  rapid.IntRange(1, 8).Draw(t, "give up after"),
		StartTimeout: wait("start timeout", 1, time.Minute),
		StopTimeout:  wait("stop timeout", 0, time.Minute),
		QuickTimeout: wait("quick timeout", 0, time.Minute),
		KillEvery:    wait("kill every", 1, 10*time.Second),
		BackoffMin:   wait("backoff min", 1, time.Second),
		RespawnEvery: wait("respawn every", 0, 5*time.Second),
		Seed:         rapid.Uint64().Draw(t, "seed"),
	}
	c.BackoffMax = wait("backoff max", c.BackoffMin, time.Minute)
	return c
}

func TestRandomWorldsKeepThePromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := randomConfig(t)
		n := newNode(c)
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "events"), 0))
		health := rapid.IntRange(0, 20).Draw(t, "health") // how many of twenty pieces of bad news do not come
		for range rapid.IntRange(1, 1000).Draw(t, "steps") {
			kept := n.s.clone()
			now, ev, stale := randomEvent(r, n, health)
			next, err := n.step(now, ev)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(n.s, kept) {
				t.Fatalf("Step changed the state it was given: %v", next)
			}
			if s, _ := Step(n.s, now, Tick{}); stale && !reflect.DeepEqual(s, next.s) {
				t.Fatalf("%T%v is not ignored: %v", ev, ev, next)
			}
			n = next
		}
		if _, err := runFutures(n); err != nil {
			t.Fatal(err)
		}
	})
}

// randomEvent draws what happens to n and when, and whether it should do nothing beyond a Tick. It draws from r, since
// rapid prefers small numbers, which makes short lives.
func randomEvent(r *rand.Rand, n *node, health int) (now Time, ev Event, stale bool) {
	now = n.now
	switch what := r.IntN(10_000); {
	case what < 10:
		return now, []Event{Stop{}, Quit{}, Kill{}}[r.IntN(3)], false
	case what < 30:
		now += time.Hour // and news at once
	case what < 200 && n.o.runs():
		return now, randomCall(r, n), false
	case what < 2000 && n.s.Next() != Never:
		return n.s.Next(), Tick{}, true
	case what < 4000:
		now += time.Duration(r.Int64N(int64(time.Second)))
	}
	news, old := n.news()
	if len(news) == 0 || r.IntN(10) == 0 {
		return now, old[r.IntN(len(old))], true
	}
	ev = news[r.IntN(len(news))]
	switch ev.(type) {
	case SpawnFailed, Exited:
		if r.IntN(20) < health {
			return now, Tick{}, true
		}
	}
	return now, ev, false
}

// randomCall draws what a person or a limit may want.
func randomCall(r *rand.Rand, n *node) Event {
	c := n.o.c
	var slots []int
	if r.IntN(2) == 0 {
		slots = []int{r.IntN(len(n.o.slots) + 1), r.IntN(len(n.o.slots) + 1)}
	}
	switch r.IntN(8) {
	case 0:
		return Scale{r.IntN(17)}
	case 1:
		c.Workers, c.Surge, c.MaxStarting = 1+r.IntN(16), r.IntN(4), 1+r.IntN(16)
		return RollOut{Reason: ReasonReload, Slots: slots, Config: &c}
	case 2, 3:
		return RollOut{Reason: ReasonRestart, Slots: slots}
	}
	reasons := []Reason{ReasonAge, ReasonRequests, ReasonMemory, ReasonWatchdog}
	var ready []ID
	for i := range n.o.slots {
		for _, w := range n.o.slots[i].workers {
			if w.serves() {
				ready = append(ready, w.id)
			}
		}
	}
	if len(ready) == 0 {
		return Tick{}
	}
	return Replace{ready[r.IntN(len(ready))], reasons[r.IntN(len(reasons))]}
}
