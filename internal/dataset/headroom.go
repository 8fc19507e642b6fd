// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

// This file keeps a load within the memory that is free. Past a cgroup's limit the kernel kills, it returns no error.
// RLIMIT_FSIZE counts for segments too; past it a write fails (EFBIG), after part of the load.

import (
	"fmt"
	"math"
	"os"
	"sync"

	humanize "github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/host"
)

const (
	// pageIndex is what the kernel needs on top of the pages to find them: a node of 576 bytes for 64 pages.
	pageIndex = 1.0025
	// usableShare is the part of the free memory that datasets may take.
	usableShare = 0.95
	// streamStep is how far ahead of its bytes a stream asks for memory, where there is plenty: 64 times that. Where it is
	// short, nobody shall hold what another one needs.
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

// Fits tells whether a dataset of size bytes may be loaded while so many bytes of memory are free.
func Fits(size, free int64) bool { return float64(Need(size)) <= usableShare*float64(free) }

// budget is what all datasets of one load share. Every byte is promised to a dataset before it is written.
type budget struct {
	free      func() (host.Headroom, error)
	fileLimit int64 // the largest size of a segment

	mu       sync.Mutex
	promised int64 // not yet written
	written  int64
}

func newBudget(free func() (host.Headroom, error)) *budget {
	b := &budget{free: free, fileLimit: math.MaxInt64}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_FSIZE, &limit) == nil {
		b.fileLimit = int64(min(limit.Cur, math.MaxInt64))
	}
	return b
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

// promiseAll promises their size to all accounts at once, or says which of them, or that all together, are too large. There
// must be room for what each takes beside that while it is unpacked; one after the other is unpacked, if need be.
func (b *budget) promiseAll(accounts []*account, names []string, sizes, beside []int64) *Error {
	if len(accounts) == 0 {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	left, by, err := b.left()
	if err != nil {
		return &Error{Names: names, Err: err}
	}
	sum, most := int64(0), int64(0)
	for i, size := range sizes {
		if size > left || beside[i] > left-size {
			return &Error{Names: names[i : i+1], Err: &shortage{need: more(size, beside[i]), usable: left, by: by, unpack: beside[i]}}
		}
		if err := b.checkFile(size, ""); err != nil && !accounts[i].noSegment {
			return &Error{Names: names[i : i+1], Err: err}
		}
		sum, most = more(sum, size), max(most, beside[i])
	}
	if sum > left || most > left-sum {
		return &Error{Names: names, Err: &shortage{need: more(sum, most), usable: left, by: by, together: " together", unpack: most}}
	}
	for i, a := range accounts {
		a.granted = sizes[i]
	}
	b.promised += sum
	return nil
}

// more is a sum that does not overflow: a header may say anything.
func more(a, b int64) int64 { return a + min(b, math.MaxInt64-a) }

func (b *budget) checkFile(size int64, more string) error {
	if size <= b.fileLimit {
		return nil
	}
	return &shortage{need: size, usable: b.fileLimit, more: more, file: true}
}

// account is one dataset's part of the budget, used by one goroutine at a time.
type account struct {
	*budget
	noSegment bool // its memory is the page cache

	granted int64 // promised to this dataset, and not asked for by its segment
	asked   int64 // asked for by its segment, and perhaps not written yet: counted as promised
	segment int64 // bytes of the segment that is being written

	decoder int64 // promised to what unpacks it
	filled  int64 // of that, counted as written
}

// admit makes sure that n more bytes may be written.
func (a *account) admit(n int64) error {
	if err := a.checkFile(a.segment+n, "more than "); err != nil {
		return err
	}
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
		return &shortage{need: a.segment + n, usable: a.segment + a.granted + left, by: by, more: "more than "}
	}
	ahead := max(n-a.granted, min(streamStep, left/64))
	a.granted += ahead
	a.promised += ahead
	return nil
}

// grow is asked by a segment before it takes n more bytes.
func (a *account) grow(n int64) error {
	a.settle()
	if err := a.admit(n); err != nil {
		return err
	}
	a.granted -= n
	a.asked = n
	a.segment += n
	return nil
}

// wrote tells that so many of the promised bytes are in the segment by now.
func (a *account) wrote(done int64) {
	a.asked = done - a.segment
	a.granted -= a.asked
	a.segment = done
	a.settle()
}

// settle counts as written what the segment asked for before: it asks again only when that is used up. What unpacks it
// keeps its last part: memory that is touched no sooner than the segment's.
func (a *account) settle() {
	a.mu.Lock()
	defer a.mu.Unlock()
	filled := max(min(a.decoder, a.segment)-a.filled, 0)
	a.filled += filled
	a.promised -= a.asked + filled
	a.written += a.asked + filled
	a.asked = 0
}

// next begins another segment beside the one that was written.
func (a *account) next() (written int64) {
	a.settle()
	written, a.segment = a.segment, 0
	return written
}

// freed takes back what was written to a segment that is gone.
func (a *account) freed(n int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.written -= n
}

// close gives back what was promised and not written.
func (a *account) close() {
	a.unpacked()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.promised -= a.granted + a.asked
	a.granted, a.asked = 0, 0
}

// shortage is a need in bytes beyond what can be used.
type shortage struct {
	need, usable   int64
	by             string
	more, together string // "more than " when need is only known so far
	unpack         int64  // the part of need that is given back after the load
	file           bool   // the limit is that of a file's size
}

func (s *shortage) Error() string {
	if s.file {
		need, have := figures(s.need, max(s.usable, 0))
		return fmt.Sprintf("needs %s%s, but a file may have only %s here, and a segment counts as one (RLIMIT_FSIZE): raise "+
			"the limit (ulimit -f, LimitFSIZE= of systemd)", s.more, need, have)
	}
	need, have := figures(Need(s.need), Need(max(s.usable, 0)))
	unpack := ""
	if s.unpack > 0 {
		unpack = fmt.Sprintf(" (%s of it only while it is unpacked, by the way it is packed)", humanize.IBytes(uint64(s.unpack)))
	}
	return fmt.Sprintf("needs %s%s%s%s, but only %s of memory can be used (bound by %s, 5 %% kept free): load less, stop "+
		"what else uses memory, or raise the limit", s.more, need, s.together, unpack, have, s.by)
}

// figures are two sizes for the eye, in bytes when they would look alike.
func figures(a, b int64) (string, string) {
	x, y := humanize.IBytes(uint64(a)), humanize.IBytes(uint64(b))
	if x == y {
		return humanize.Comma(a) + " bytes", humanize.Comma(b) + " bytes"
	}
	return x, y
}
