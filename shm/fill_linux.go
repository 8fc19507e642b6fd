// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package shm

// Filling from a regular file, by several goroutines. Each takes a window after the other, makes its blocks huge and
// reads into them: from the page cache block by block, while the zeroed page is still in the CPU's cache; from a disk
// all of the window by one read, while others make their pages. What is no whole block, and everything where there are
// no huge pages, is written from a buffer: faults of 4 KiB pages cost twice as much (0.10 of the kernel's copy rate).

import (
	"context"
	"errors"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// From a disk, all of coldReads windows are under way at once, and as many are made meanwhile: a virtual disk ends many
// reads at the same moment, and would idle while everybody makes pages for the next (0.86 to 0.92 of its own rate; this
// way 0.92 to 1.0).
const coldReads = 8

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
	}
	fill := f.cached
	if f.src.cold {
		fill = f.cold
	}
	if err := errors.Join(fill(ctx, count, start, end), f.src.close()); err != nil {
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

// cached has each goroutine make a huge page and read into it, block by block.
func (f *filler) cached(ctx context.Context, count int, start, end int64) error {
	return spread(ctx, count, start, end, f.admit, func() worker { return &filling{filler: f} })
}

// cold has some goroutines make huge pages, a window at a time, and others read into them.
func (f *filler) cold(ctx context.Context, count int, start, end int64) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	total := min(2*coldReads, int((end-start)/windowSize)+2)
	free, made := make(chan *filling, total), make(chan *filling, total)
	for range total {
		free <- &filling{filler: f}
	}
	var readers sync.WaitGroup
	for range coldReads {
		readers.Go(func() {
			for w := range made {
				if ctx.Err() == nil {
					if err := w.read(); err != nil {
						cancel(err)
					}
				}
				free <- w
			}
		})
	}
	err := spread(ctx, count, start, end, f.admit, func() worker { return preparing{free: free, made: made} })
	close(made)
	readers.Wait()
	if err == nil {
		err = context.Cause(ctx) // of the last windows
	}
	for range total {
		err = errors.Join(err, (<-free).close())
	}
	return err
}

// preparing is a goroutine that makes pages for others to read into.
type preparing struct{ free, made chan *filling }

func (p preparing) do(from, to int64) error {
	w := <-p.free
	w.show(from, to)
	for at := w.low; at < w.high; at += block {
		w.make(at)
	}
	p.made <- w
	return nil
}

func (preparing) close() error { return nil }

// filling is what a goroutine sees of the segment: one window after the other.
type filling struct {
	*filler
	from, to  int64
	low, high int64 // its whole blocks, if they are mapped
	made      [windowSize / block]bool
	mapped    []byte // [low, high)
	view      window
	buffer    []byte
}

func (f *filling) close() error { return f.view.close() }

// do fills [from, to) of the segment.
func (f *filling) do(from, to int64) error {
	f.show(from, to)
	return f.read()
}

// show maps the blocks in [from, to) that can be huge.
func (f *filling) show(from, to int64) {
	f.from, f.to, f.low, f.high = from, to, blockUp(from), blockUp(from)
	clear(f.made[:])
	if off, _ := f.huge.state(); off || f.low >= blockDown(to) {
		return
	}
	mapped, err := f.view.show(f.file, f.low, blockDown(to)-f.low, unix.PROT_READ|unix.PROT_WRITE)
	if err != nil {
		f.huge.count(err)
		return
	}
	f.mapped, f.high = mapped, blockDown(to)
	f.huge.advise(mapped)
}

// make makes the block at this offset huge, if it can.
func (f *filling) make(at int64) {
	f.made[(at-f.low)/block] = f.huge.empty(f.file, f.mapped[at-f.low:][:block], at)
}

// read fills what show has shown: huge pages by reads straight into them.
func (f *filling) read() error {
	for at := f.from; at < f.to; {
		if !f.src.cold && f.low <= at && at < f.high {
			f.make(at)
		}
		end := at
		for f.low <= end && end < f.high && f.made[(end-f.low)/block] {
			end += block
		}
		var err error
		if at < end {
			err = f.src.read(f.mapped[at-f.low:end-f.low], at+f.shift)
		} else {
			end = min(blockDown(at)+block, f.to)
			err = f.copy(at, end)
		}
		if err != nil {
			return err
		}
		at = end
	}
	f.src.forget(f.from+f.shift, f.to-f.from)
	f.arrived(f.to - f.from)
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
