// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

// This file keeps a load within the memory that is free. Past a cgroup's limit the kernel kills, it returns no error.

import (
	"fmt"
	"math"
	"os"
	"sync"

	humanize "github.com/dustin/go-humanize"

	"github.com/preforkd/preforkd/internal/host"
)

const (
	// pageIndex is what the kernel needs on top of the pages to find them: a node of 576 bytes for 64 pages.
	pageIndex = 1.0025
	// usableShare is the part of the free memory that datasets may take.
	usableShare = 0.95
	// streamStep is how far ahead of its bytes a stream asks for memory.
	streamStep = 64 << 20
)

// Need returns the bytes of memory that a dataset of size bytes takes: whole pages and their index.
func Need(size int64) int64 {
	page := float64(os.Getpagesize())
	need := math.Ceil(math.Ceil(float64(size)/page) * page * pageIndex)
	if need >= math.MaxInt64 { // a header may say anything
		return math.MaxInt64
	}
	return int64(need)
}

// budget is what all datasets of one load share. Every byte is promised to a dataset before it is written.
type budget struct {
	free func() (host.Headroom, error)

	mu       sync.Mutex
	promised int64 // not yet written
	written  int64
}

// left returns how many more bytes can be promised, and what sets the bound. The free memory is read anew; what this
// load has written is added, since the share is one of what there was without it.
func (b *budget) left() (left int64, by string, err error) {
	if b.free == nil {
		return math.MaxInt64 - b.written - b.promised, "", nil
	}
	h, err := b.free()
	if err != nil {
		return 0, "", fmt.Errorf("how much memory is free cannot be told: %w", err)
	}
	page := int64(os.Getpagesize())
	usable := usableShare * (float64(h.Free) + float64(Need(b.written))) / pageIndex
	return int64(usable)/page*page - b.written - b.promised, h.By, nil
}

// promiseAll promises their whole size to all accounts at once, or says which of them, or that all together, are too
// large.
func (b *budget) promiseAll(accounts []*account, names []string, sizes []int64) *Error {
	if len(accounts) == 0 {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	left, by, err := b.left()
	if err != nil {
		return &Error{Names: names, Err: err}
	}
	sum := int64(0)
	for i, size := range sizes {
		if size > left {
			return &Error{Names: names[i : i+1], Err: &shortage{need: size, usable: left, by: by}}
		}
		sum += min(size, math.MaxInt64-sum)
	}
	if sum > left {
		return &Error{Names: names, Err: &shortage{need: sum, usable: left, by: by, together: " together"}}
	}
	for i, a := range accounts {
		a.granted = sizes[i]
	}
	b.promised += sum
	return nil
}

// account is one dataset's part of the budget, used by one goroutine.
type account struct {
	*budget
	granted int64 // promised to this dataset, not yet written
	done    int64
}

// admit makes sure that n more bytes may be written.
func (a *account) admit(n int64) error {
	if n <= a.granted {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	left, by, err := a.left()
	if err != nil {
		return err
	}
	if n > a.granted+left {
		return &shortage{need: a.done + n, usable: max(a.done+a.granted+left, 0), by: by, more: "more than "}
	}
	ahead := min(max(n-a.granted, streamStep), left)
	a.granted += ahead
	a.promised += ahead
	return nil
}

func (a *account) wrote(n int64) {
	a.granted -= n
	a.done += n
	a.mu.Lock()
	defer a.mu.Unlock()
	a.promised -= n
	a.budget.written += n
}

// close gives back what was promised and not written.
func (a *account) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.promised -= a.granted
	a.granted = 0
}

// shortage is a need in bytes beyond what can be used.
type shortage struct {
	need, usable   int64
	by             string
	more, together string // "more than " when need is only known so far
}

func (s *shortage) Error() string {
	usable := max(s.usable, 0)
	need, have := humanize.IBytes(uint64(Need(s.need))), humanize.IBytes(uint64(Need(usable)))
	if need == have {
		need, have = humanize.Comma(Need(s.need))+" bytes", humanize.Comma(Need(usable))+" bytes"
	}
	return fmt.Sprintf("needs %s%s%s, but only %s of memory can be used (bound by %s, 5 %% kept free): load less, stop "+
		"what else uses memory, or raise the limit", s.more, need, s.together, have, s.by)
}
