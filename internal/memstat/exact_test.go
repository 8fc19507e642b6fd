// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// Every figure of every worker and of the fleet, through random lives of real processes, against the kernel's own books
// page by page.
//
// PREFORKD_TEST_STEPS=1000 takes that many steps, PREFORKD_TEST_SEED=N those of an earlier run:
//
//	PREFORKD_TEST_STEPS=1000 go test -run TestEveryFigureAgreesWithTheKernelsBooks -v ./internal/memstat

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What is done by default: so many steps, and fewer where they take long, as under the race detector.
const (
	exactSteps = 120
	exactTime  = 7 * time.Second
)

// fleetUnderTest is some trees, what they may map and who measures them.
type fleetUnderTest struct {
	t        *testing.T
	random   *rand.Rand
	sources  []*source // the segments first, in the order of segments
	segments []Segment
	trees    []*tree
	sampler  *testSampler
	books    *pageBooks
	settled  map[Key]truth // what was true when the dear figures were read
	starts   int
}

func TestEveryFigureAgreesWithTheKernelsBooks(t *testing.T) {
	begun := time.Now()
	steps, seed := setting(t, "PREFORKD_TEST_STEPS", 0), setting(t, "PREFORKD_TEST_SEED", begun.UnixNano())
	t.Logf("PREFORKD_TEST_SEED=%d", seed)
	f := &fleetUnderTest{t: t, random: rand.New(rand.NewPCG(uint64(seed), 0)), books: openBooks(t)}
	f.addSources()
	f.sampler = newTestSampler(t)
	for i := range 4 {
		f.trees = append(f.trees, nil)
		f.startBusy(i)
	}
	done := map[string]int{}
	step := int64(0)
	for ; step < steps || steps == 0 && step < exactSteps && time.Since(begun) < exactTime; step++ {
		what := f.act()
		done[what]++
		f.check(step%3 != 1)
		if t.Failed() {
			t.Fatalf("step %d, behind: %s", step, what)
		}
	}
	t.Logf("%v", done)
	t.Logf("%d steps, %d figures compared, %d of them not 0", step, f.books.figures, f.books.figures-f.books.zeros)
}

func setting(t *testing.T, variable string, otherwise int64) int64 {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// addSources makes two versions of a dataset of 4 KiB pages, one of huge pages with a tail of small ones, and other
// memory of each kind.
func (f *fleetUnderTest) addSources() {
	t := f.t
	add := func(seg Segment, file *os.File) {
		f.segments = append(f.segments, seg)
		f.sources = append(f.sources, &source{name: seg.Name, file: file, pages: int(seg.Size) / os.Getpagesize()})
	}
	first, file := newSegment(t, "small", 300)
	add(first, file)
	second, file := newSegment(t, "small", 170)
	second.Version = 2
	add(second, file)
	add(newHugeSegment(t, "huge", 4<<20+5*os.Getpagesize()))

	other, err := unix.MemfdCreate("other", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	memfd := os.NewFile(uintptr(other), "other")
	t.Cleanup(func() { memfd.Close() })
	disk, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { disk.Close() })
	if _, err := disk.Write(make([]byte, 90*os.Getpagesize())); err != nil {
		t.Fatal(err)
	}
	if err := memfd.Truncate(int64(120 * os.Getpagesize())); err != nil {
		t.Fatal(err)
	}
	f.sources = append(f.sources,
		&source{name: "another memfd", file: memfd, pages: 120, writable: true},
		&source{name: "a file", file: disk, pages: 90},
		&source{name: "anonymous", pages: 200, writable: true}, // shared as torch has it, or private
	)
}

// newHugeSegment makes a memfd of huge pages as far as whole ones fit in, and of small ones where the kernel gives none.
func newHugeSegment(t testing.TB, name string, size int) (Segment, *os.File) {
	t.Helper()
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		t.Fatal(err)
	}
	m, err := mapAligned(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < size; i += os.Getpagesize() {
		m[i] = byte(i >> 12)
	}
	if err := collapse(m[:size>>21<<21]); err != nil {
		t.Logf("%s has small pages: %v", name, err)
	}
	if err := unix.MunmapPtr(unsafe.Pointer(&m[0]), uintptr(size)); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return segmentOf(t, name, f), f
}

// collapse makes pages that are there into huge ones, as preforkd does where the host gives none by itself.
func collapse(m []byte) error {
	var err error
	for range 10 {
		if err = unix.Madvise(m, unix.MADV_COLLAPSE); !errors.Is(err, unix.EAGAIN) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("no huge pages by MADV_COLLAPSE (Linux 6.1): %w", err)
	}
	return nil
}

// without is the slot of the worker that is handed no data.
const without = 3

// start puts a new process into slot i.
func (f *fleetUnderTest) start(i int) {
	f.starts++
	w := grow(f.t, "/proc/self/exe", f.sources)
	w.target = Target{Key: Key{Worker: i, Incarnation: f.starts}, PID: w.processes[0].pid, Ready: true}
	if i != without {
		for _, seg := range f.segments {
			w.target.Versions = append(w.target.Versions, seg.SegKey)
		}
	}
	f.trees[i] = w
	var targets []Target
	for _, w := range f.trees {
		if w != nil {
			targets = append(targets, w.target)
		}
	}
	f.sampler.Update(targets, f.segments)
}

// startBusy starts a worker that has mapped something already.
func (f *fleetUnderTest) startBusy(i int) {
	f.start(i)
	for range 3 {
		f.mapSomething(f.trees[i], f.trees[i].processes[0])
	}
}

// act lets one process do one thing and says what.
func (f *fleetUnderTest) act() string {
	r := f.random
	slot := r.IntN(len(f.trees))
	w := f.trees[slot]
	p := w.processes[r.IntN(len(w.processes))]
	if len(p.maps) == 0 {
		return f.mapSomething(w, p)
	}
	m := p.maps[r.IntN(len(p.maps))]
	first, last := r.IntN(len(m.prot)), len(m.prot)
	if r.IntN(4) > 0 {
		last = first + 1 + r.IntN(len(m.prot)-first)
	} else {
		first = 0
	}
	switch n := r.IntN(100); {
	case n < 17 && p.count < maxMaps:
		return f.mapSomething(w, p)
	case n < 33:
		w.touch(p, m, first, last)
		return "touch"
	case n < 57:
		w.write(p, m, first, last, 1+r.IntN(5))
		return "write"
	case n < 64:
		w.protect(p, m, first, last, []int8{unix.PROT_NONE, unix.PROT_READ, unix.PROT_READ | unix.PROT_WRITE}[r.IntN(3)])
		return "mprotect"
	case n < 70:
		w.unmap(p, m, first, last)
		return "munmap"
	case n < 75:
		w.forget(p, m, first, last)
		return "MADV_DONTNEED"
	case n < 89:
		if w.fork(p) == nil {
			return "nothing"
		}
		return "fork"
	case n < 97 && p.parent != nil:
		w.kill(p)
		return "a child's end"
	case n > 97:
		w.kill(w.processes[0])
		w.fell()
		f.startBusy(slot)
		return "a worker's end"
	}
	return "nothing"
}

// mapSomething maps a source that the worker may have, whole or in part, and often touches it.
func (f *fleetUnderTest) mapSomething(w *tree, p *proc) string {
	r := f.random
	fd, sources := 3, f.sources
	if len(w.target.Versions) == 0 {
		sources = sources[len(f.segments):]
		fd += len(f.segments)
	}
	pick := r.IntN(len(sources))
	s := sources[pick]
	fd += pick
	if s.file == nil {
		fd = -1
	}
	first, pages := 0, s.pages
	if r.IntN(2) == 0 {
		first = r.IntN(s.pages)
		pages = 1 + r.IntN(s.pages-first)
	}
	flags := int64(r.IntN(8))
	if r.IntN(2) == 0 {
		flags |= mapWrite
	}
	m := w.add(p, s, fd, first, pages, flags)
	if r.IntN(3) > 0 {
		w.touch(p, m, 0, len(m.prot))
	}
	if r.IntN(3) == 0 {
		w.write(p, m, 0, len(m.prot), 1+r.IntN(9))
	}
	return "mmap"
}

// check takes a sample and compares it with the books. Something outside may have changed between the two, like a process
// of the machine that maps one more page of a file; so what does not agree is sampled again, between two readings of
// the books that are equal, and then has to.
func (f *fleetUnderTest) check(dear bool) {
	f.t.Helper()
	fleet, now := f.sample(dear), f.read()
	if f.books.quietly(func() { f.compare(fleet, now, dear) }) {
		f.settle(now, dear)
		return
	}
	for range 50 {
		before := f.read()
		fleet := f.sample(dear)
		if reflect.DeepEqual(before, f.read()) {
			f.compare(fleet, before, dear)
			f.settle(before, dear)
			return
		}
	}
	f.t.Fatal("the books do not come to rest")
}

// settle remembers what was true at the last dear sample.
func (f *fleetUnderTest) settle(now []truth, dear bool) {
	if !dear {
		return
	}
	f.settled = map[Key]truth{}
	for i, w := range f.trees {
		f.settled[w.target.Key] = now[i]
	}
}

// read is what the books say now.
func (f *fleetUnderTest) read() []truth {
	var pids [][]int
	for _, w := range f.trees {
		pids = append(pids, w.pids())
	}
	return f.books.read(pids, f.segments)
}

// sample reads all workers, by the step of the sampler or, where the dear figures are not wanted, by its parts.
func (f *fleetUnderTest) sample(dear bool) *Fleet {
	if dear {
		return f.sampler.after(2 * time.Minute)
	}
	f.sampler.after(0)
	for _, w := range f.sampler.workers {
		if !f.sampler.sampleOne(w, false, f.sampler.now) {
			f.t.Fatal("interrupted")
		}
	}
	f.sampler.count()
	f.sampler.publish(f.sampler.now)
	return f.sampler.Latest()
}
