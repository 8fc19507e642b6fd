// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package fleet

// This file holds when a slot starts a worker: who goes first, and how long a failed one waits.

// startDue starts slots that are due while there are places.
func (t *step) startDue() {
	for free := t.Config.MaxStarting - t.starting(); free > 0; free-- {
		i := t.firstDue(t.now)
		if i < 0 {
			return
		}
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
	slot.RetryAt, slot.LastSpawn = Never, t.now
	slot.Workers = append(slot.Workers, Worker{
		ID: id, Phase: WorkerSpawning, Started: t.now, Since: t.now, Deadline: after(t.now, t.Config.StartTimeout),
	})
	t.Spawns++
	t.do(Spawn{ID: id, From: OriginExec})
}

// firstDue returns the slot that is due longest, the lowest of several, or -1.
func (s State) firstDue(now Time) int {
	first := -1
	for i := range s.Slots {
		if s.Slots[i].RetryAt <= now && (first < 0 || s.Slots[i].RetryAt < s.Slots[first].RetryAt) {
			first = i
		}
	}
	return first
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
