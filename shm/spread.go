// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package shm

import (
	"context"
	"runtime"
	"sync"
)

// windowSize is what one goroutine maps at a time. Larger windows are not faster, and they count in our RSS.
const windowSize = 8 << 20

// threads is how many goroutines copy or compare: one alone does not use all that memory gives, and many add nothing.
func threads() int { return min(max(runtime.GOMAXPROCS(0), 2), 4) }

// worker does windows one after the other.
type worker interface {
	do(from, to int64) error
	close() error
}

// spread cuts [from, to) at the multiples of 8 MiB and hands the pieces out in order to so many workers, each in a
// goroutine of its own. Before each piece ctx is looked at and admit, if any, asked. It returns when all have ended
// and are closed, with the first error.
func spread(ctx context.Context, count int, from, to int64, admit func(end int64) error, start func() worker) error {
	var (
		mu    sync.Mutex
		next  = from
		first error
		all   sync.WaitGroup
	)
	fail := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if first == nil {
			first = err
		}
	}
	take := func() (begin, end int64) {
		mu.Lock()
		defer mu.Unlock()
		begin, end = next, min(next-next%windowSize+windowSize, to)
		if first == nil && begin < end {
			if first = context.Cause(ctx); first == nil && admit != nil {
				first = admit(end)
			}
		}
		if first != nil {
			return begin, begin
		}
		next = end
		return begin, end
	}
	for range min(int64(count), (to-from)/windowSize+1) {
		all.Go(func() {
			w := start()
			for begin, end := take(); begin < end; begin, end = take() {
				if err := w.do(begin, end); err != nil {
					fail(err)
				}
			}
			if err := w.close(); err != nil {
				fail(err)
			}
		})
	}
	all.Wait()
	return first
}
