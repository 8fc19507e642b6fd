// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

// Files as sources: how much of one is in the page cache, putting it out, reading it by several threads.

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/dataset"
	"github.com/preforkd/preforkd/internal/host"
	"github.com/preforkd/preforkd/shm"
)

// sysCachestat is cachestat(2), Linux 6.5: the same number everywhere.
const sysCachestat = 451

// cached tells the bytes of a file that are in the page cache.
func cached(path string) (answer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var (
		span  struct{ offset, length uint64 } // length 0: to the end
		state struct{ cache, dirty, writeback, evicted, recent uint64 }
	)
	_, _, e := unix.Syscall6(sysCachestat, f.Fd(),
		uintptr(unsafe.Pointer(&span)), uintptr(unsafe.Pointer(&state)), 0, 0, 0)
	if e != 0 {
		return nil, fmt.Errorf("cannot ask the kernel what is cached (cachestat, Linux 6.5): %w", e)
	}
	return answer{"bytes": state.cache * smallPage}, nil
}

// evict puts a file out of the page cache.
func evict(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return err
	}
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}

// read fills memory from a file: every thread takes the next block until none is left.
func read(f *os.File, into []byte, threads int, block int64) error {
	var (
		wg   sync.WaitGroup
		next atomic.Int64
		fail atomic.Pointer[error]
		size = int64(len(into))
	)
	for range threads {
		wg.Go(func() {
			for {
				at := next.Add(block) - block
				if at >= size {
					return
				}
				if _, err := f.ReadAt(into[at:min(at+block, size)], at); err != nil {
					fail.Store(&err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := fail.Load(); err != nil {
		return *err
	}
	return nil
}

// limit reads a file into a buffer that is there already and huge: what the kernel's copying can do at most.
func (b *bench) limit(o order) (answer, error) { return b.readInto(o, 0) }

// direct does so past the page cache: what the disk can do.
func (b *bench) direct(o order) (answer, error) { return b.readInto(o, unix.O_DIRECT) }

func (b *bench) readInto(o order, flags int) (answer, error) {
	f, err := os.OpenFile(o.Path, os.O_RDONLY|flags, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if int64(len(b.buffer.data)) != o.Bytes {
		if err := b.buffer.unmap(); err != nil {
			return nil, err
		}
		if b.buffer, err = populated(o.Bytes); err != nil {
			return nil, err
		}
	}
	seconds, err := timed(func() error { return read(f, b.buffer.data, o.Threads, o.Block) })
	return answer{"seconds": seconds}, err
}

// fresh reads a file into huge pages that nobody has touched: what any program pays whose memory comes from the kernel,
// which zeroes it first.
func fresh(o order) (answer, error) {
	f, err := os.Open(o.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var a area
	seconds, err := timed(func() error {
		if a, err = mapAligned(-1, o.Bytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE); err != nil {
			return err
		}
		_ = unix.Madvise(a.data, unix.MADV_HUGEPAGE) // without huge pages it is small pages
		return read(f, a.data, o.Threads, hugePage)
	})
	if err != nil {
		return nil, err
	}
	return answer{"seconds": seconds}, a.unmap()
}

// plain reads a file into a new memfd of 4 KiB pages that is mapped: what one writes first.
func plain(o order) (answer, error) {
	f, err := os.Open(o.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fd, err := unix.MemfdCreate("plain", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was promised about it
	var a area
	seconds, err := timed(func() error {
		if err := unix.Ftruncate(fd, o.Bytes); err != nil {
			return err
		}
		if a, err = mapPlain(fd, o.Bytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
			return err
		}
		_ = unix.Madvise(a.data, unix.MADV_NOHUGEPAGE)
		return read(f, a.data, o.Threads, o.Block)
	})
	if err != nil {
		return nil, err
	}
	return answer{"seconds": seconds}, a.unmap()
}

// fill is package shm alone: Fill, and then what makes a segment of it that a worker can open.
func fill(o order) (answer, error) {
	f, err := os.Open(o.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var w *shm.Writer
	seconds, err := timed(func() error {
		if w, err = shm.Create("fill", shm.Options{}); err != nil {
			return err
		}
		return w.Fill(context.Background(), f, 0, o.Bytes, shm.FillOptions{Threads: o.Threads})
	})
	if err != nil {
		return nil, err
	}
	defer w.Close() //nolint:errcheck // it is sealed, or the error is another one
	huge, note := w.Huge(), w.Note()
	var segment *shm.Segment
	seal, err := timed(func() error {
		if segment, err = w.Seal(); err != nil {
			return err
		}
		own, err := segment.Open()
		if err != nil {
			return err
		}
		return own.Close()
	})
	if err != nil {
		return nil, err
	}
	return answer{"seconds": seconds, "seal": seal, "huge": huge, "note": note}, segment.Close()
}

// loadDataset is what preforkd does with a source, whatever it is packed with, until workers could be started.
func loadDataset(o order) (answer, error) {
	loader := &dataset.Loader{Free: host.Host{}.Free}
	var all []*dataset.Loaded
	seconds, err := timed(func() (err error) {
		all, err = loader.Load(context.Background(), []dataset.Spec{{Name: "bench", Source: o.Path}})
		return err
	})
	if err != nil {
		return nil, err
	}
	a := answer{"seconds": seconds, "bytes": all[0].Size(), "huge": all[0].Segment.Huge()}
	return a, all[0].Close()
}
