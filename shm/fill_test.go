// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package shm

// Fill: every byte of a file, by several goroutines, and nothing left when it fails.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFillBringsEveryByteInHugePages(t *testing.T) {
	needHuge(t)
	for _, size := range []int{
		1, 4095, 4096, 2<<20 - 1, 2 << 20, 2<<20 + 1, 8<<20 - 1, 8 << 20, 8<<20 + 1, 33<<20 + 7,
	} {
		data := noise(size)
		f := file(t, data)
		for threads := 1; threads <= 4; threads++ {
			for _, o := range []Options{{}, {Huge: HugeOff}} {
				if (o.Huge == HugeOff || size < 8<<20) && threads != 3 {
					continue
				}
				t.Run(fmt.Sprintf("%d bytes, %d threads, mode %d", size, threads, o.Huge), func(t *testing.T) {
					w := empty(t, o)
					var seen int64
					err := w.Fill(t.Context(), f, 0, int64(size), FillOptions{threads, func(done int64) {
						if done <= seen {
							t.Errorf("progress went from %d to %d", seen, done)
						}
						seen = done
					}})
					if err != nil || w.Note() != "" || seen != int64(size) {
						t.Fatalf("%v, note %q, progress %d", err, w.Note(), seen)
					}
					want := int64(0)
					if o.Huge == HugeAuto {
						want = blockDown(int64(size))
					}
					if w.Huge() != want {
						t.Errorf("%d bytes are in huge pages, want %d", w.Huge(), want)
					}
					checkSealed(t, w, data)
				})
			}
		}
	}
}

func TestFillTakesAPartAndLeavesTheOffsetOfTheFileAlone(t *testing.T) {
	data := noise(9 << 20)
	f := file(t, data)
	if _, err := f.Seek(77, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	w := empty(t, Options{})
	if err := w.Fill(t.Context(), f, 5000, 6<<20, FillOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := w.Fill(t.Context(), f, 3, 0, FillOptions{}); err != nil {
		t.Errorf("nothing: %v", err)
	}
	if at, err := f.Seek(0, io.SeekCurrent); at != 77 || err != nil {
		t.Errorf("the file stands at %d, %v", at, err)
	}
	for _, part := range [][2]int64{{-1, 5}, {0, -1}} {
		if err := w.Fill(t.Context(), f, part[0], part[1], FillOptions{}); err == nil {
			t.Errorf("filled %d bytes from %d", part[1], part[0])
		}
	}
	checkSealed(t, w, data[5000:][:6<<20])
}

// failing is a Fill that is to fail: what it is given, and how.
type failing struct {
	f      *os.File
	ctx    context.Context
	cancel context.CancelCauseFunc
	o      FillOptions
	refuse int // which request of Grow is refused; 0: none
}

var errRefused = errors.New("refused")

func TestAFillThatFailsLeavesNothingBehind(t *testing.T) {
	const size = 18<<20 + 5
	data, head := noise(size), noise(3<<20+5)
	broken := errors.New("broken")
	cases := map[string]struct {
		prepare func(*failing)
		want    error
	}{
		"source shorter than said": {func(f *failing) { _ = os.Truncate(f.f.Name(), size-1) }, io.ErrUnexpectedEOF},
		"source shrinks meanwhile": {func(f *failing) {
			f.o.Progress = func(int64) { _ = os.Truncate(f.f.Name(), 1) }
		}, io.ErrUnexpectedEOF},
		"source closed":       {func(f *failing) { f.f.Close() }, fs.ErrClosed},
		"cancelled before":    {func(f *failing) { f.cancel(broken) }, broken},
		"cancelled meanwhile": {func(f *failing) { f.o.Progress = func(int64) { f.cancel(broken) } }, broken},
		"no memory at once":   {func(f *failing) { f.refuse = 1 }, errRefused},
		"no memory later":     {func(f *failing) { f.refuse = 2 }, errRefused},
		"no memory at last":   {func(f *failing) { f.refuse = 3 }, errRefused},
	}
	for name, c := range cases {
		for huge, threads := range map[HugeMode]int{HugeAuto: 2, HugeOff: 1} {
			t.Run(fmt.Sprintf("%s, mode %d, %d threads", name, huge, threads), func(t *testing.T) {
				noLeak(t, func(t *testing.T) {
					f := failing{f: file(t, data), o: FillOptions{Threads: threads}}
					f.ctx, f.cancel = context.WithCancelCause(t.Context())
					defer f.cancel(nil)
					c.prepare(&f)
					asked, filling := 0, false
					w := empty(t, Options{Huge: huge, Grow: func(int64) error {
						if asked++; filling && asked == f.refuse {
							return errRefused
						}
						return nil
					}})
					if _, err := w.Write(head); err != nil {
						t.Fatal(err)
					}
					asked, filling = 0, true
					err := w.Fill(f.ctx, f.f, 0, size, f.o)
					if !errors.Is(err, c.want) || !strings.HasPrefix(err.Error(), `cannot fill segment "test": `) {
						t.Errorf("got %v, want %v", err, c.want)
					}
					f.f.Close()
					if err := noMapping(); err != nil {
						t.Error(err)
					}
					checkSealed(t, w, head)
				})
			})
		}
	}
}

func TestFillMapsOnlyItsWindows(t *testing.T) {
	const size, threads = 40 << 20, 2
	f := file(t, make([]byte, size))
	var most int64
	before := rssShmem(t)
	err := empty(t, Options{}).Fill(t.Context(), f, 0, size, FillOptions{threads, func(int64) {
		most = max(most, rssShmem(t))
	}})
	if err != nil || most-before > threads*windowSize {
		t.Errorf("%d bytes were mapped: %v", most-before, err)
	}
	if after := rssShmem(t); after > before {
		t.Errorf("%d bytes are mapped afterwards", after-before)
	}
}

// rssShmem is the shared memory that this process maps.
func rssShmem(t *testing.T) int64 { return statusKiB(t, "RssShmem") << 10 }

// statusKiB reads one field of /proc/self/status.
func statusKiB(t *testing.T, field string) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), field+":")
	n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestGrowIsAskedForEveryPageBeforeItIsTaken(t *testing.T) {
	const size = 21<<20 + 1
	for name, take := range map[string]func(w *Writer) error{
		"Fill":     func(w *Writer) error { return w.Fill(t.Context(), file(t, noise(size)), 0, size, FillOptions{}) },
		"ReadFrom": func(w *Writer) error { return second(w.ReadFrom(bytes.NewReader(noise(size)))) },
		"Write":    func(w *Writer) error { return second(w.Write(noise(size))) },
	} {
		for _, huge := range []HugeMode{HugeAuto, HugeOff} {
			t.Run(fmt.Sprintf("%s, mode %d", name, huge), func(t *testing.T) {
				var w *Writer
				var asked, calls int64
				w = empty(t, Options{Huge: huge, Grow: func(n int64) error {
					calls++
					asked += n
					if have, err := allocated(w.file); have > asked || n <= 0 || err != nil {
						t.Errorf("%d bytes were taken and %d asked for, %v", have, asked, err)
					}
					return nil
				}})
				if err := take(w); err != nil {
					t.Fatal(err)
				}
				have, err := allocated(w.file)
				if have > asked || asked > blockUp(size) || calls < 3 || err != nil {
					t.Errorf("%d bytes are taken, %d were asked for in %d calls, %v", have, asked, calls, err)
				}
			})
		}
	}
}

// onDisk is a file that can be dropped from the page cache.
func onDisk(t *testing.T, data []byte) *os.File {
	t.Helper()
	f := file(t, data)
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := control(f, func(fd int) error { return unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED) }); err != nil {
		t.Fatal(err)
	}
	if cachedBytes(t, f) > 0 {
		t.Skip("this file system keeps its files in memory")
	}
	return f
}

func TestAColdFileIsNotCached(t *testing.T) {
	data := noise(17<<20 + 7)
	for name, c := range map[string]struct {
		head []byte
		from int64
	}{
		"aligned":           {nil, 0},
		"from within":       {nil, 8192},
		"not aligned":       {nil, 5}, // O_DIRECT does not take that
		"behind a header":   {[]byte("head"), 0},
		"behind other data": {data[:3<<20], 4096},
	} {
		t.Run(name, func(t *testing.T) {
			f := onDisk(t, data)
			w := empty(t, Options{})
			if _, err := w.Write(c.head); err != nil {
				t.Fatal(err)
			}
			if err := w.Fill(t.Context(), f, c.from, int64(len(data))-c.from, FillOptions{}); err != nil {
				t.Fatal(err)
			}
			if n := cachedBytes(t, f); n > 2<<20 {
				t.Errorf("%d bytes are cached", n)
			}
			checkSealed(t, w, slices.Concat(c.head, data[c.from:]))
		})
	}
}

func TestAColdFileThatIsShorterThanSaid(t *testing.T) {
	for _, missing := range []int64{1, 9 << 20} {
		f := onDisk(t, noise(9<<20+7))
		err := empty(t, Options{}).Fill(t.Context(), f, 0, 9<<20+7+missing, FillOptions{})
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes too few: %v", missing, err)
		}
	}
}

func TestACachedFileStaysCached(t *testing.T) {
	const size = 9 << 20
	f := onDisk(t, noise(size))
	if _, err := io.Copy(io.Discard, io.NewSectionReader(f, 0, size)); err != nil {
		t.Fatal(err)
	}
	if err := empty(t, Options{}).Fill(t.Context(), f, 0, size, FillOptions{}); err != nil {
		t.Fatal(err)
	}
	if n := cachedBytes(t, f); n < size {
		t.Errorf("%d bytes of %d are cached", n, size)
	}
}
