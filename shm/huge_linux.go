// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package shm

// Huge pages for shared memory, without a privilege and whatever the host is set to but for shmem_enabled=deny.
//
// A segment of 4 KiB pages costs its users page by page: faults when it is filled and attached, page tables in every
// worker (8 MiB for 4 GiB), and time when a worker ends. There are two ways to huge pages, both for 2 MiB that hold
// nothing yet:
//
//   - Where shmem_enabled is advise or more, the first touch of a mapping with MADV_HUGEPAGE gives one.
//   - Elsewhere MADV_COLLAPSE (Linux 6.1) makes one of a single small page. That page is written by pwrite: touched
//     through the mapping it would have to be unmapped again, with an interrupt to the other CPUs (0.55 of the kernel's
//     copy rate instead of 0.70, measured with 2 threads).

import (
	"errors"
	"os"
	"slices"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// collapseTries: EAGAIN comes now and then, when a page is in use at that moment.
	collapseTries = 8
	// missesToGiveUp: one failure may be bad luck (fragmented memory), several in a row are the rule.
	missesToGiveUp = 4
)

// pager makes huge pages as long as it can and keeps the count. Its methods may be called at the same time.
type pager struct {
	mu     sync.Mutex
	off    bool
	faults verdict // whether a first touch gives a huge page
	bytes  int64   // in huge pages
	misses int     // in a row
	why    error   // of the last miss
}

type verdict int8

const (
	unknown verdict = iota
	yes
	no
)

func (p *pager) state() (off bool, faults verdict) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.off, p.faults
}

// advise prepares a fresh mapping for touch.
func (p *pager) advise(mapped []byte) {
	if off, faults := p.state(); !off && faults != no {
		_ = unix.Madvise(mapped, unix.MADV_HUGEPAGE) // then the touch shows that it did not help
	}
}

// empty makes one huge page of mapped, which shows 2 MiB of file at offset that hold nothing. If it is false the range
// stays as it is, but for a zero at its beginning.
func (p *pager) empty(file *os.File, mapped []byte, offset int64) bool {
	off, faults := p.state()
	if off {
		return false
	}
	if faults != no {
		mapped[0] = 0
		huge := resident(mapped)
		p.mu.Lock()
		if p.faults == unknown && !huge {
			p.faults = no
		} else if huge {
			p.faults = yes
		}
		p.mu.Unlock()
		if huge {
			return p.count(nil)
		}
	} else if _, err := file.WriteAt([]byte{0}, offset); err != nil {
		return p.count(err)
	}
	return p.count(collapse(mapped))
}

// written makes one huge page of 2 MiB of file at offset that have been written, with a window of its own.
func (p *pager) written(file *os.File, offset int64) {
	if off, _ := p.state(); off {
		return
	}
	var view window
	mapped, err := view.show(file, offset, block, unix.PROT_READ|unix.PROT_WRITE)
	if err == nil {
		err = collapse(mapped)
	}
	p.count(errors.Join(err, view.close()))
}

// count books one huge page, or why it could not be made, and returns whether it was.
func (p *pager) count(err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.bytes += block
		p.misses = 0
		return true
	}
	p.misses++
	p.why = err
	p.off = p.off || p.misses >= missesToGiveUp
	return false
}

// split books that one huge page was given back or cut up.
func (p *pager) split() {
	p.mu.Lock()
	p.bytes -= block
	p.mu.Unlock()
}

func (p *pager) total() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bytes
}

func (p *pager) reset(bytes int64) {
	p.mu.Lock()
	p.bytes = bytes
	p.mu.Unlock()
}

func collapse(mapped []byte) (err error) {
	for range collapseTries {
		if err = unix.Madvise(mapped, unix.MADV_COLLAPSE); !errors.Is(err, unix.EAGAIN) {
			return err
		}
	}
	return err
}

// resident says whether all of mapped is in memory: after the touch of one byte only a huge page is.
func resident(mapped []byte) bool {
	pages := make([]byte, len(mapped)/os.Getpagesize())
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&mapped[0])), uintptr(len(mapped)),
		uintptr(unsafe.Pointer(&pages[0])))
	return errno == 0 && !slices.Contains(pages, 0)
}
