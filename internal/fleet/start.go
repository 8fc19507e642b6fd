// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package fleet

import "slices"

// This file holds when a slot starts a worker: who goes first, and how long a failed one waits.

// Due returns when slot i wants its next start, or Never: a slot without a worker that serves or is about to, or one whose
// worker is to be replaced. Where one starts too slowly its end comes first, and then a wait. Whether there is a place
// then is another matter.
func (s State) Due(i int) Time {
	if !s.Active() || i >= s.Config.Workers {
		return Never
	}
	for _, w := range s.Slots[i].Workers {
		switch w.Phase {
		case WorkerSpawning, WorkerStarting:
			return Never
		case WorkerReady:
			if s.Config.Surge == 0 || s.Replacing(w) == ReasonNone {
				return Never
			}
		case WorkerStopping:
			if w.Reason == ReasonStartTimeout {
				return Never
			}
		}
	}
	return s.Slots[i].RetryAt
}

// mayStart tells whether there is a place for one more worker in slot i.
func (s State) mayStart(i int) bool {
	if s.starting() >= s.Config.MaxStarting {
		return false
	}
	workers := s.Slots[i].Workers
	switch {
	case len(workers) == 0:
		return true
	case len(workers) > 1:
		return false
	case s.recycled(workers[0]):
		return s.extra() == 0 && s.Config.Surge > 0 // one at a time
	}
	return s.extra() < s.Config.Surge
}

// extra returns how many processes there are beyond one in each slot.
func (s State) extra() int {
	n := 0
	for i := range s.Slots {
		n += len(s.Slots[i].Workers)
		if i < s.Config.Workers && len(s.Slots[i].Workers) > 0 {
			n--
		}
	}
	return n
}

// startDue starts slots that are due while there are places.
func (t *step) startDue() {
	for i := t.firstDue(t.now); i >= 0; i = t.firstDue(t.now) {
		t.start(i)
	}
}

func (t *step) start(i int) {
	slot := &t.Slots[i]
	id := ID{i, slot.NextIncarnation}
	slot.NextIncarnation++
	if id.Incarnation > 1 {
		slot.Respawns++
	}
	burst := Time(t.Config.RespawnBurst) * t.Config.RespawnEvery
	slot.Paced = min(max(slot.Paced, t.now), t.now+burst) + t.Config.RespawnEvery // however many were replaced just before
	epoch := t.Epoch
	if t.rolls(i) {
		epoch = t.Roll.Target
	}
	slot.Workers = append(slot.Workers, Worker{
		ID: id, Phase: WorkerSpawning, Epoch: epoch,
		Started: t.now, Since: t.now, Deadline: after(t.now, t.Config.StartTimeout),
	})
	t.Spawns++
	t.do(Spawn{ID: id, From: OriginExec, Epoch: epoch})
}

// firstDue returns the slot to start next, or -1: one without a worker that serves before one whose worker is only to be
// replaced, then the one that is due longest, then the lowest.
func (s State) firstDue(now Time) int {
	first := -1
	var firstServes bool
	var firstDue Time
	for i := range s.Slots {
		due, serves := s.Due(i), s.serves(i)
		if due > now || !s.mayStart(i) {
			continue
		}
		if first < 0 || !serves && firstServes || serves == firstServes && due < firstDue {
			first, firstServes, firstDue = i, serves, due
		}
	}
	return first
}

// serves tells whether slot i has a ready worker.
func (s State) serves(i int) bool {
	return slices.ContainsFunc(s.Slots[i].Workers, func(w Worker) bool { return w.Phase == WorkerReady })
}

// after returns now+d, or Never where that would be later.
func after(now, d Time) Time {
	if d >= Never-max(now, 0) {
		return Never
	}
	return now + d
}

// backoff returns the wait after the k-th failed start in a row, k ≥ 1. It doubles by comparing first, since a shift by k
// overflows.
func (c Config) backoff(k int) Time {
	d := c.BackoffMin
	for range k - 1 {
		if d >= c.BackoffMax-d {
			return c.BackoffMax
		}
		d *= 2
	}
	return d
}

// jitter returns d plus up to a tenth of it, so that slots that failed together do not start together for ever.
func (t *step) jitter(d Time) Time {
	t.Rand += 0x9e3779b97f4a7c15 // splitmix64, Steele et al. 2014: a generator that is one number
	z := t.Rand
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	z ^= z >> 31
	return d + Time(z%uint64(d/10+1))
}
