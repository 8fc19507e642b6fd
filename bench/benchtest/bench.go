// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"time"
)

// bench carries out measurements. What it keeps between orders: the populated buffer, the segments, and workers.
type bench struct {
	buffer   area
	segments map[string]*held
	crowd    crowd
}

func (b *bench) do(o order) (answer, error) {
	switch o.Do {
	case "generate":
		return nil, generate(o)
	case "warm":
		return nil, warm(o.Bytes)
	case "release":
		return nil, b.release()
	case "cached":
		return cached(o.Path)
	case "evict":
		return nil, evict(o.Path)
	case "limit":
		return b.limit(o)
	case "direct":
		return b.direct(o)
	case "fresh":
		return fresh(o)
	case "plain":
		return plain(o)
	case "fill":
		return fill(o)
	case "preforkd":
		return loadDataset(o)
	case "segment":
		return b.segment(o)
	case "attach":
		return b.attach(o)
	case "share":
		return nil, b.crowd.share(b.segments[o.Path], o)
	case "part":
		return nil, b.crowd.part()
	case "round":
		return b.crowd.round(o)
	case "stall":
		return b.crowd.stall(o)
	case "ask":
		return askStats(o)
	case "end":
		return nil, b.crowd.end()
	}
	return nil, fmt.Errorf("cannot do %q", o.Do)
}

func (b *bench) release() error {
	for name, s := range b.segments {
		if err := s.Close(); err != nil {
			return err
		}
		delete(b.segments, name)
	}
	return b.buffer.unmap()
}

// timed returns the seconds that f took.
func timed(f func() error) (float64, error) {
	began := time.Now()
	err := f()
	return time.Since(began).Seconds(), err
}
