// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package shm

// How fast a segment is filled, as a ratio to what the kernel can copy, measured in turn with it: the first touch of
// memory on a virtual machine, and what else runs there, change every absolute number.
//
//	go test ./shm -run '^$' -bench . -benchtime 9x
//
// SHM_BENCH_MIB is the size of the file (1024), TMPDIR where it is made: a disk, for the cold ones.

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// benchFile makes a file and reads it once, so that it is cached.
func benchFile(b *testing.B) (*os.File, int64) {
	mib, err := strconv.Atoi(os.Getenv("SHM_BENCH_MIB"))
	if err != nil {
		mib = 1024
	}
	f, err := os.Create(filepath.Join(b.TempDir(), "data"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	piece := noise(1 << 20)
	for range mib {
		if _, err := f.Write(piece); err != nil {
			b.Fatal(err)
		}
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	return f, int64(mib) << 20
}

// inParts reads [0, size) of f into dst with two goroutines by windows, 1 MiB a call.
func inParts(b *testing.B, f *os.File, dst []byte, count int) {
	var all sync.WaitGroup
	parts := make(chan int)
	for range count {
		all.Go(func() {
			for at := range parts {
				for end := min(at+windowSize, len(dst)); at < end; at += bufferSize {
					if n, err := unix.Pread(int(f.Fd()), dst[at:min(at+bufferSize, end)], int64(at)); n <= 0 {
						b.Error(n, err)
					}
				}
			}
		})
	}
	for at := 0; at < len(dst); at += windowSize {
		parts <- at
	}
	close(parts)
	all.Wait()
}

// populated is memory of this process in huge pages, every byte touched, and what gives it back.
func populated(b *testing.B, size int64) (mem []byte, free func()) {
	var view window
	if err := view.reserve(size); err != nil {
		b.Fatal(err)
	}
	p, err := unix.MmapPtr(-1, 0, view.start, uintptr(size), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_FIXED)
	if err != nil {
		b.Fatal(err)
	}
	mem = unsafe.Slice((*byte)(p), size)
	_ = unix.Madvise(mem, unix.MADV_HUGEPAGE)
	for i := 0; i < len(mem); i += 4096 {
		mem[i] = 1
	}
	return mem, func() { view.close() }
}

func median(d []float64) float64 { slices.Sort(d); return d[len(d)/2] }

// cpuSeconds is the CPU time that this process has used.
func cpuSeconds(b *testing.B) float64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// versus runs limit and work in turn and reports the median rate of work, and the median of its ratio to the limit next to
// it. limit gets memory that has been touched; it is given back before work begins, which thereby gets pages that the
// host has backed already. work returns what is to be closed afterwards, or nil.
func versus(b *testing.B, size int64, limit func(mem []byte), work func() io.Closer) {
	var rates, limits, ratios, cpu []float64
	round := func() {
		mem, free := populated(b, size)
		begun, first := time.Now(), cpuSeconds(b)
		limit(mem)
		base, baseCPU := time.Since(begun).Seconds(), cpuSeconds(b)-first
		free()
		begun, first = time.Now(), cpuSeconds(b)
		done := work()
		took := time.Since(begun).Seconds()
		cpu = append(cpu, baseCPU/(cpuSeconds(b)-first))
		rates = append(rates, float64(size)/1e9/took)
		limits = append(limits, float64(size)/1e9/base)
		ratios = append(ratios, base/took)
		if done != nil {
			done.Close()
		}
	}
	round() // warm up
	rates, limits, ratios, cpu = nil, nil, nil, nil
	for b.Loop() {
		round()
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(rates), "GB/s")
	b.ReportMetric(median(limits), "limit-GB/s")
	b.ReportMetric(median(ratios), "of-limit")
	b.ReportMetric(median(cpu), "of-limit-by-CPU-time") // less disturbed by what else runs
}

func benchWriter(b *testing.B, o Options) *Writer {
	w, err := Create("bench", o)
	if err != nil {
		b.Fatal(err)
	}
	return w
}

func benchFill(b *testing.B, f *os.File, size int64, o Options, count int) (w *Writer) {
	w = benchWriter(b, o)
	if err := w.Fill(context.Background(), f, 0, size, FillOptions{Threads: count}); err != nil {
		b.Fatal(err)
	}
	return w
}

func BenchmarkFill(b *testing.B) {
	f, size := benchFile(b)
	for _, count := range []int{1, 2, 4} {
		b.Run("threads="+strconv.Itoa(count), func(b *testing.B) {
			versus(b, size, func(mem []byte) { inParts(b, f, mem, count) },
				func() io.Closer { return benchFill(b, f, size, Options{}, count) })
		})
	}
}

// BenchmarkFillSmallPages is without huge pages.
func BenchmarkFillSmallPages(b *testing.B) {
	f, size := benchFile(b)
	versus(b, size, func(mem []byte) { inParts(b, f, mem, 2) },
		func() io.Closer { return benchFill(b, f, size, Options{Huge: HugeOff}, 2) })
}

// BenchmarkPlain is what Fill is compared with: pread into a plain map, 4 KiB pages.
func BenchmarkPlain(b *testing.B) {
	f, size := benchFile(b)
	versus(b, size, func(mem []byte) { inParts(b, f, mem, 2) }, func() io.Closer {
		w := benchWriter(b, Options{})
		if err := w.file.Truncate(size); err != nil {
			b.Fatal(err)
		}
		m, err := unix.Mmap(int(w.file.Fd()), 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			b.Fatal(err)
		}
		inParts(b, f, m, 2)
		if err := unix.Munmap(m); err != nil {
			b.Fatal(err)
		}
		return w
	})
}

// BenchmarkReadFrom reads a stream; its limit has one goroutine too.
func BenchmarkReadFrom(b *testing.B) {
	f, size := benchFile(b)
	versus(b, size, func(mem []byte) { inParts(b, f, mem, 1) }, func() io.Closer {
		w := benchWriter(b, Options{})
		if n, err := w.ReadFrom(io.NewSectionReader(f, 0, size)); n != size || err != nil {
			b.Fatal(n, err)
		}
		return w
	})
}

// BenchmarkSeal is Seal alone, of a segment of exactly its size.
func BenchmarkSeal(b *testing.B) {
	f, size := benchFile(b)
	var took []float64
	for b.Loop() {
		w := benchFill(b, f, size, Options{}, 2)
		begun := time.Now()
		s, err := w.Seal()
		took = append(took, float64(time.Since(begun).Microseconds())/1e3)
		if err != nil {
			b.Fatal(err)
		}
		s.Close()
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(took), "ms")
}

func BenchmarkEqual(b *testing.B) {
	f, size := benchFile(b)
	for name, o := range map[string]Options{"huge": {}, "small": {Huge: HugeOff}} {
		b.Run(name, func(b *testing.B) {
			var s [2]*Segment
			for i := range s {
				var err error
				if s[i], err = benchFill(b, f, size, o, 2).Seal(); err != nil {
					b.Fatal(err)
				}
				defer s[i].Close()
			}
			versus(b, size, func(mem []byte) { inParts(b, f, mem, 2) }, func() io.Closer {
				if same, err := Equal(context.Background(), s[0], s[1]); !same || err != nil {
					b.Fatal(same, err)
				}
				return nil
			})
		})
	}
}

// BenchmarkFillCold reads a file that is not cached; its limit is O_DIRECT into populated huge pages.
func BenchmarkFillCold(b *testing.B) {
	f, size := benchFile(b)
	fd, err := unix.Open(f.Name(), unix.O_RDONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		b.Skip(err)
	}
	direct := os.NewFile(uintptr(fd), f.Name())
	defer direct.Close()
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		b.Fatal(err)
	}
	versus(b, size, func(mem []byte) { inParts(b, direct, mem, coldReads) },
		func() io.Closer { return benchFill(b, f, size, Options{}, 0) })
	b.ReportMetric(float64(cachedBytes(b, f))/(1<<20), "cached-MiB")
}

// cachedBytes is how much of a file is in the page cache.
func cachedBytes(t testing.TB, f *os.File) int64 {
	t.Helper()
	var have unix.Cachestat_t
	if err := unix.Cachestat(uint(f.Fd()), &unix.CachestatRange{}, &have, 0); err != nil {
		t.Skip("needs cachestat (Linux 6.5): ", err)
	}
	return int64(have.Cache) * int64(os.Getpagesize())
}
