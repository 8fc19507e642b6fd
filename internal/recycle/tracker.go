// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package recycle

// This file holds what is known of one worker, and what follows from it.

import (
	"math/rand/v2"
	"time"
)

// Tracker watches one worker from its start to its end. It belongs to one goroutine.
type Tracker struct {
	started     Time
	maxAge      Time // this worker's own limits, 0 for none
	maxRequests int64
	maxPrivate  int64
	watchdog    Time

	ready     Time // Never before that
	alive     Time // last sign of life, or ready
	spoke     bool // there has been a sign of life
	requests  int64
	private   int64 // the last reading that counted
	sampled   Time  // when that was; -1 before the first
	over      int   // readings in a row over maxPrivate
	fresh     bool  // no reading since ready yet
	replaced  bool  // the verdict was given
	hung      bool
	notBefore Time // see Postpone
}

// New returns the tracker of a worker that started at the given time. It draws the worker's own limits from r and keeps
// neither.
func New(p Policy, r *rand.Rand, started Time) *Tracker {
	return &Tracker{
		started: started,
		maxAge:  Time(p.MaxAge.draw(r)), maxRequests: p.MaxRequests.draw(r), maxPrivate: p.MaxPrivate.draw(r),
		watchdog: max(p.Watchdog, 0),
		ready:    Never, sampled: -1, fresh: true,
	}
}

// Ready says that the worker serves. Only the first one counts.
func (t *Tracker) Ready(now Time) {
	if t.ready == Never {
		t.ready, t.alive = now, now
	}
}

// Alive says that the worker sent WATCHDOG=1. The watchdog counts from ready.
func (t *Tracker) Alive(now Time) {
	t.spoke = true
	if t.ready != Never {
		t.alive = max(t.alive, now)
	}
}

// Requests says how many requests the worker has answered in all, by its own count.
func (t *Tracker) Requests(n int64) { t.requests = n }

// Private says how many bytes of anonymous memory the worker had at a moment. A reading that was told before, or is older
// than the last one, changes nothing. A Refusal comes once, and at the first reading only.
func (t *Tracker) Private(bytes int64, at Time) (Refusal, bool) {
	if t.maxPrivate == 0 || t.ready == Never || at < t.ready || at <= t.sampled {
		return Refusal{}, false
	}
	t.sampled, t.private = at, bytes
	first := t.fresh
	t.fresh = false
	switch {
	case bytes <= t.maxPrivate:
		t.over = 0
	case first && at-t.ready <= Fresh:
		refusal := Refusal{Private: bytes, Limit: t.maxPrivate}
		t.maxPrivate = 0
		return refusal, true
	case at-t.ready >= Settle:
		t.over++
	}
	return Refusal{}, false
}

// Postpone says that the replacement which Due asked for did not come about: the worker serves on, and Due may ask again
// from the given time on. MaxPrivate takes Samples new readings.
func (t *Tracker) Postpone(until Time) { t.replaced, t.notBefore, t.over = false, until, 0 }

// Next returns the time from which Due says yes if nothing more is heard, which may be past, or Never.
func (t *Tracker) Next() Time {
	next, _ := t.next()
	return next
}

// Due tells whether the worker is to be replaced, or hangs. Each verdict is given once.
func (t *Tracker) Due(now Time) (Verdict, bool) {
	next, reason := t.next()
	if next == Never || now < next {
		return Verdict{}, false
	}
	if reason == Watchdog {
		t.hung = true
	} else {
		t.replaced = true
	}
	return Verdict{Reason: reason, Text: t.text(reason, now)}, true
}

// next returns when the earliest verdict is due, and which.
func (t *Tracker) next() (Time, Reason) {
	if t.ready == Never || t.hung {
		return Never, 0
	}
	next, reason := Never, Reason(0)
	consider := func(at Time, r Reason) {
		if at < next {
			next, reason = at, r
		}
	}
	if t.watchdog > 0 {
		consider(after(t.alive, t.watchdog), Watchdog)
	}
	if t.replaced {
		return next, reason
	}
	if t.maxPrivate > 0 && t.over >= Samples {
		consider(t.notBefore, MaxPrivate)
	}
	if t.maxRequests > 0 && t.requests >= t.maxRequests {
		consider(t.notBefore, MaxRequests)
	}
	if t.maxAge > 0 {
		consider(max(after(t.started, t.maxAge), t.ready, t.notBefore), MaxAge)
	}
	return next, reason
}

// after is at + d, or Never where that is beyond it.
func after(at Time, d time.Duration) Time {
	if d >= Never-at {
		return Never
	}
	return at + d
}
