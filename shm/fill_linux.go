// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package shm

// Filling from a regular file, by several goroutines. Each takes a window after the other, makes its blocks huge and
// reads into them block by block, while the zeroed page is still in the CPU's cache. What is no whole block, and
// everything where there are no huge pages, is written from a buffer: faults of 4 KiB pages cost twice as much (0.10
// of the kernel's copy rate).

import (
	"context"
	"errors"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// coldThreads keep a disk busy while others make huge pages: eight reach 0.84 of its own rate here, four 0.68.
const coldThreads = 8

// filler is one Fill.
type filler struct {
	*body
	src   *source
	shift int64 // offset in the source less that in the segment

	mu       sync.Mutex
	progress func(int64)
	done     int64
}

func (b *body) fill(ctx context.Context, file *os.File, offset, length int64, o FillOptions) error {
	if err := b.unmap(); err != nil {
		return err
	}
	start, end, huge := b.size, b.size+length, b.huge.total()
	if err := b.file.Truncate(max(end, b.made)); err != nil {
		return err
	}
	f := &filler{body: b, src: openSource(file, offset, length), shift: offset - start, progress: o.Progress}
	count := o.Threads
	if count <= 0 {
		count = threads()
		if f.src.cold {
			count = coldThreads
		}
	}
	err := spread(ctx, count, start, end, b.admit, func() worker { return &filling{filler: f} })
	if err = errors.Join(err, f.src.close()); err != nil {
		b.huge.reset(huge)
		b.granted = min(b.granted, max(start, b.made))
		return errors.Join(err, b.file.Truncate(max(start, b.made)))
	}
	b.size = end
	if head := blockDown(start); head < start && head+block <= end && start >= b.made && head != b.missed {
		b.huge.written(b.file, head)
	}
	return nil
}

func (f *filler) arrived(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done += n
	if f.progress != nil {
		f.progress(f.done)
	}
}

// filling is one goroutine of it.
type filling struct {
	*filler
	view   window
	buffer []byte
}

func (f *filling) close() error { return f.view.close() }

// do fills [from, to) of the segment.
func (f *filling) do(from, to int64) error {
	low, high := blockUp(from), blockDown(to)
	var mapped []byte
	if off, _ := f.huge.state(); !off && low < high {
		var err error
		if mapped, err = f.view.show(f.file, low, high-low, unix.PROT_READ|unix.PROT_WRITE); err != nil {
			f.huge.count(err)
		} else {
			f.huge.advise(mapped)
		}
	}
	for at := from; at < to; {
		end := min(blockDown(at)+block, to)
		var err error
		if end-at == block && mapped != nil && f.huge.empty(f.file, mapped[at-low:][:block], at) {
			err = f.src.read(mapped[at-low:][:block], at+f.shift)
		} else {
			err = f.copy(at, end)
		}
		if err != nil {
			return err
		}
		at = end
	}
	f.src.forget(from+f.shift, to-from)
	f.arrived(to - from)
	return nil
}

// copy fills [from, to) without mapping it.
func (f *filling) copy(from, to int64) error {
	if f.buffer == nil {
		f.buffer = aligned(bufferSize)
	}
	for from < to {
		piece := f.buffer[:min(bufferSize, to-from)]
		if err := f.src.read(piece, from+f.shift); err != nil {
			return err
		}
		if _, err := f.file.WriteAt(piece, from); err != nil {
			return err
		}
		from += int64(len(piece))
	}
	return nil
}

// aligned is a buffer that O_DIRECT takes.
func aligned(size int) []byte {
	p := make([]byte, size+sector)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(p))) & (sector - 1))
	return p[skip : skip+size : skip+size]
}
