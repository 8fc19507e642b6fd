// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

// What it costs a worker to be looked at: it maps, touches and unmaps memory of its own meanwhile.

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/preforkd/preforkd/internal/memstat"
)

// stall tells how long the first worker's operations took while it was looked at in some way ("idle": not at all).
func (c *crowd) stall(o order) (answer, error) {
	ctx, cancel := context.WithCancel(context.Background())
	var (
		wg      sync.WaitGroup
		sampler *memstat.Sampler
		fail    error
	)
	stop := func() error { cancel(); wg.Wait(); return fail }
	defer stop() //nolint:errcheck // the error is another one, or was seen
	victim := c.sharing[0]
	switch o.Kind {
	case "idle":
	case "sampling":
		sampler = memstat.New(memstat.Options{Scan: time.Second, Settle: time.Nanosecond, Budget: 1})
		sampler.Update(targets(c.segment, c.sharing[:1]), segments(c.segment))
		wg.Go(func() { sampler.Run(ctx) })
		// Both times it reads smaps_rollup too, since the worker is new, and then not for a minute.
		if err := samples(sampler, 2); err != nil {
			return nil, err
		}
	case "smaps_rollup":
		wg.Go(func() {
			path, buffer := fmt.Sprintf("/proc/%d/smaps_rollup", victim.pid), make([]byte, 64<<10)
			for ctx.Err() == nil && fail == nil {
				fail = drain(path, buffer)
				wait(ctx, 2*time.Millisecond)
			}
		})
	default:
		return nil, fmt.Errorf("cannot look at a worker by %q", o.Kind)
	}
	began := time.Now()
	if err := victim.say(order{Do: "stall", Seconds: o.Seconds}); err != nil {
		return nil, err
	}
	a, err := victim.hear()
	if sampler != nil && sampledAt(sampler).Before(began) {
		err = errors.Join(err, errors.New("the sampler took no sample meanwhile"))
	}
	return a, errors.Join(err, stop())
}

// samples waits until a sampler has sampled its worker so many times.
func samples(s *memstat.Sampler, count int) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for last := (time.Time{}); count > 0; wait(ctx, 5*time.Millisecond) {
		if ctx.Err() != nil {
			return errors.New("the sampler does not sample")
		}
		if at := sampledAt(s); at.After(last) {
			last = at
			count--
		}
	}
	return nil
}

// sampledAt is when a sampler sampled its worker, zero before it has.
func sampledAt(s *memstat.Sampler) (at time.Time) {
	for _, w := range s.Latest().Workers {
		if w.Sample.At != nil {
			at = *w.Sample.At
		}
	}
	return at
}

// wait returns after a while, at once without one, or when ctx ends.
func wait(ctx context.Context, while time.Duration) {
	if while <= 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(while):
	}
}
