// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// The page scan against the kernel's own books: /proc/PID/pagemap gives the page frame at each address,
// /proc/kpagecount how often a frame is mapped on this machine. Both show frames to root only.

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// books is what the kernel's books say of the segment in the processes of one worker.
type books struct {
	rss, anon, alone int64
	share            float64
	copies           map[uint64]bool // frames of copies
}

func readBooks(t *testing.T, seg Segment, pids ...int) books {
	t.Helper()
	counts, err := os.Open("/proc/kpagecount")
	if err != nil {
		t.Skipf("needs the kernel's page counts: %v", err)
	}
	defer counts.Close()
	out := books{copies: map[uint64]bool{}}
	page := uint64(os.Getpagesize())
	var word [8]byte
	for _, pid := range pids {
		pagemap, err := os.Open(fmt.Sprintf("/proc/%d/pagemap", pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range readSmaps(t, pid, "maps") {
			if m.ino != seg.Ino {
				continue
			}
			var start, end uint64
			if _, err := fmt.Sscanf(m.header, "%x-%x", &start, &end); err != nil {
				t.Fatal(err)
			}
			entries := make([]byte, (end-start)/page*8)
			if _, err := pagemap.ReadAt(entries, int64(start/page*8)); err != nil {
				t.Fatal(err)
			}
			for ; len(entries) > 0; entries = entries[8:] {
				entry := binary.NativeEndian.Uint64(entries)
				if entry>>63 == 0 {
					continue
				}
				frame := entry & (1<<55 - 1)
				if _, err := counts.ReadAt(word[:], int64(frame*8)); err != nil {
					t.Skipf("needs the page frames: %v", err)
				}
				count := binary.NativeEndian.Uint64(word[:])
				out.rss += int64(page)
				out.share += float64(page) / float64(count)
				if count == 1 {
					out.alone += int64(page)
				}
				if entry>>61&1 == 0 {
					out.anon += int64(page)
					out.copies[frame] = true
				}
			}
		}
		pagemap.Close()
	}
	return out
}

// Workers touch, write, map again, fork and lose children at random; after each step every figure of every worker
// equals the books to the page.
func TestRandomWorkersAgreeWithTheKernelsBooks(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to see page frames")
	}
	const pages, workers, steps = 256, 3, 40
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	seg, f := newSegment(t, "seg", pages)
	s := newTestSampler(t)
	children := make([]*child, workers)
	trees := make([][]int, workers)
	maps := make([]int, workers)
	var targets []Target
	for i := range children {
		children[i] = start(t, f)
		children[i].do("private 3 0 256", "shared 3 0 256") // 0 can be written, 1 cannot
		trees[i], maps[i] = []int{children[i].pid}, 2
		targets = append(targets, target(i, children[i], seg))
	}
	s.Update(targets, []Segment{seg})
	figures := 0
	for step := range steps {
		i := random.IntN(workers)
		first := random.IntN(pages)
		end := first + 1 + random.IntN(pages-first)
		switch action := random.IntN(10); {
		case action < 4:
			children[i].do(fmt.Sprint("touch ", random.IntN(2), " ", first, " ", end))
		case action < 7:
			children[i].do(fmt.Sprint("write 0 ", first, " ", end, " ", 1+random.IntN(5)))
		case action < 9 && len(trees[i]) < 3: // with four, holding.copiesShare may be too low
			trees[i] = append(trees[i], children[i].do(fmt.Sprint("fork 0 ", first, " ", end)))
		case len(trees[i]) > 1:
			children[i].do(fmt.Sprint("kill ", trees[i][1]))
			trees[i] = append(trees[i][:1:1], trees[i][2:]...)
		}
		fleet := s.after(10 * time.Second)
		for i := range children {
			want := readBooks(t, seg, trees[i]...)
			got := fleet.Workers[targets[i].Key]
			if len(got.PIDs) != len(trees[i]) {
				t.Fatalf("step %d: worker %d is %v, want %v", step, i, got.PIDs, trees[i])
			}
			sum, known := s.workers[i].segments(int64(os.Getpagesize()))
			if !known {
				t.Fatalf("step %d: worker %d is not counted: %s", step, i, got.Sample.Error)
			}
			checkNear(t, "rss", got.Data[0].RSS, want.rss, 0)
			checkNear(t, "pss", got.Data[0].PSS, int64(math.Round(want.share)), 1)
			checkNear(t, "cow", got.Data[0].COW, int64(len(want.copies)*os.Getpagesize()), 0)
			checkNear(t, "mapped", got.Mapped, want.rss-want.anon, 0)
			checkNear(t, "uss", new(sum.alone+sum.copiesAlone), want.alone, 0)
			figures += 5
			if t.Failed() {
				t.Fatalf("step %d, worker %d: %v", step, i, trees)
			}
		}
	}
	t.Logf("%d figures compared", figures)
}

// Both ways of scanning give the same runs.
func TestPagemapGivesTheSameRunsAsTheScan(t *testing.T) {
	seg, f := newSegment(t, "seg", segPages)
	c := start(t, f)
	c.do("private 3 0 4096", "touch 0 0 3000", "write 0 5 2000 3", "shared 3 1000 2000", "touch 1 0 700")
	c.do("fork 0 100 300")
	r := newReader("/proc")
	if !r.scanner.ioctl {
		t.Skip("PAGEMAP_SCAN needs Linux 6.7")
	}
	old := newScanner("/proc", &r.calls)
	old.ioctl = false
	for _, forked := range []bool{false, true} {
		m, err := openMember("/proc", c.pid, &r.text)
		if err != nil {
			t.Fatal(err)
		}
		defer m.close()
		if err := m.scan([]Segment{seg}, forked, &r.text, r.scanner); err != nil {
			t.Fatal(err)
		}
		scanned := m.layers[0]
		if err := m.scan([]Segment{seg}, forked, &r.text, old); err != nil {
			t.Fatal(err)
		}
		if len(scanned) != 2 || len(m.layers[0]) != 2 {
			t.Fatalf("%d and %d layers, want 2", len(scanned), len(m.layers[0]))
		}
		for i := range scanned {
			a, b := decode(scanned[i]), decode(m.layers[0][i])
			if !slices.Equal(a, b) {
				t.Errorf("forked %v, layer %d: the scan says %v, pagemap %v", forked, i, a, b)
			}
		}
	}
}

func TestTheWholeSamplerWorksWithoutPagemapScan(t *testing.T) {
	seg, f := newSegment(t, "seg", segPages)
	a, b := start(t, f), start(t, f)
	a.do("private 3 0 4096", "touch 0 0 4096", "write 0 0 4096 2")
	b.do("shared 3 0 4096", "touch 0 0 2048")
	s := newTestSampler(t)
	s.scanner.ioctl = false
	s.Update([]Target{target(0, a, seg), target(1, b, seg)}, []Segment{seg})
	s.after(0)
	fleet := s.after(2 * time.Second)
	for i, c := range []*child{a, b} {
		w := fleet.Workers[Key{Worker: i, Incarnation: 1}]
		checkWorker(t, w, seg, c.pid)
		if w.Sample.Source != "pagemap+smaps_rollup" || w.Data[0].Huge != nil {
			t.Errorf("source %q, huge %v", w.Sample.Source, w.Data[0].Huge)
		}
	}
}

func TestHugePagesAreTold(t *testing.T) {
	const size = 8 << 20
	fd, err := unix.MemfdCreate("huge", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "huge")
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	m, err := mapAligned(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < size; i += 2 << 20 {
		m[i] = 1
	}
	if err := errors.Join(unix.Madvise(m, unix.MADV_HUGEPAGE), unix.Madvise(m, unix.MADV_COLLAPSE)); err != nil {
		t.Skipf("cannot make huge pages here (Linux 6.1): %v", err)
	}
	if err := unix.MunmapPtr(unsafe.Pointer(&m[0]), size); err != nil {
		t.Fatal(err)
	}
	seg := segmentOf(t, "huge", f)
	pages := size / os.Getpagesize()
	a, b := start(t, f), start(t, f)
	a.do(fmt.Sprint("shared 3 0 ", pages), fmt.Sprint("touch 0 0 ", pages/2))
	b.do(fmt.Sprint("private 3 0 ", pages), fmt.Sprint("touch 0 0 ", pages), "write 0 0 1 1", "touch 0 0 8")
	s := newTestSampler(t)
	if !s.scanner.ioctl {
		t.Skip("PAGEMAP_SCAN needs Linux 6.7")
	}
	s.Update([]Target{target(0, a, seg), target(1, b, seg)}, []Segment{seg})
	s.after(0)
	fleet := s.after(2 * time.Second)
	for i, c := range []*child{a, b} {
		w := fleet.Workers[Key{Worker: i, Incarnation: 1}]
		checkWorker(t, w, seg, c.pid)
		want := kernelFigures(t, seg, c.pid).seg["ShmemPmdMapped"]
		checkNear(t, "huge", w.Data[0].Huge, want, 0)
		if want == 0 {
			t.Errorf("worker %d has no huge page", i)
		}
	}
}
