// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// The independent reading: every page of every mapping, from /proc/PID/maps and pagemap (which frame is there), and of
// every frame from /proc/kpagecount (how often it is mapped on this machine) and /proc/kpageflags (what it is). Root
// alone sees frames. Nothing of it is shared with the code under test, and the scan ioctl is not used.
//
// Three things are not to be seen in pages. Page tables are VmPTE of status. That a page is mapped by a huge page and
// not merely part of one is ShmemPmdMapped of smaps. How much a memfd has allocated is fstat's st_blocks.

import (
	"encoding/binary"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// From include/uapi/linux/kernel-page-flags.h.
const (
	kpfAnon     = 1 << 12
	kpfTHP      = 1 << 22
	kpfZeroPage = 1 << 24
)

// truth is what one worker has, in bytes.
type truth struct {
	processes                        int
	rss, anon, uss, swap, pageTables int64
	pss, pssAnon                     float64
	shared                           sharedTruth
	data                             []dataTruth
}

// sharedTruth is memory of files and shared memory, segments left out.
type sharedTruth struct {
	pss float64
	uss int64
}

// dataTruth is what one worker has of one segment.
type dataTruth struct {
	rss, anon, cow, huge, thp int64
	pss                       float64
}

// pageBooks reads one moment.
type pageBooks struct {
	t             testing.TB
	counts, flags *os.File
	frames        map[uint64][2]uint64 // count and flags of the frames met so far
	entries       []byte
	outside       uint64 // mappings of every page of the segments that are not the fleet's: they dilute no share in it
	figures       int    // compared
	zeros         int    // of which are 0
	quiet, missed bool
}

func openBooks(t testing.TB) *pageBooks {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root, to see page frames")
	}
	b := &pageBooks{t: t}
	var err error
	if b.counts, err = os.Open("/proc/kpagecount"); err != nil {
		t.Skipf("needs the kernel's page counts: %v", err)
	}
	t.Cleanup(func() { b.counts.Close() })
	if b.flags, err = os.Open("/proc/kpageflags"); err != nil {
		t.Skipf("needs the kernel's page flags: %v", err)
	}
	t.Cleanup(func() { b.flags.Close() })
	return b
}

// frame returns how often a frame is mapped, and its flags.
func (b *pageBooks) frame(number uint64) (count, flags uint64) {
	if f, known := b.frames[number]; known {
		return f[0], f[1]
	}
	var word [8]byte
	if _, err := b.counts.ReadAt(word[:], int64(number*8)); err != nil {
		b.t.Skipf("needs the page frames: %v", err)
	}
	count = binary.NativeEndian.Uint64(word[:])
	if _, err := b.flags.ReadAt(word[:], int64(number*8)); err != nil {
		b.t.Fatal(err)
	}
	flags = binary.NativeEndian.Uint64(word[:])
	b.frames[number] = [2]uint64{count, flags}
	return count, flags
}

// read is the truth about some workers, each given by its processes, over the given segments.
func (b *pageBooks) read(workers [][]int, segments []Segment) []truth {
	b.frames = map[uint64][2]uint64{}
	out := make([]truth, len(workers))
	for i, pids := range workers {
		out[i].data = make([]dataTruth, len(segments))
		copies := make([]map[uint64]bool, len(segments))
		for _, pid := range pids {
			b.process(&out[i], copies, pid, segments)
		}
		for s := range segments {
			out[i].data[s].cow = int64(len(copies[s]) * os.Getpagesize())
		}
	}
	return out
}

// process adds one process to a worker's truth.
func (b *pageBooks) process(w *truth, copies []map[uint64]bool, pid int, segments []Segment) {
	const none = -1
	page := int64(os.Getpagesize())
	w.processes++
	dir := "/proc/" + strconv.Itoa(pid)
	pagemap, err := os.Open(dir + "/pagemap")
	if err != nil {
		b.t.Fatal(err)
	}
	defer pagemap.Close()
	for _, m := range b.mappings(dir) {
		of := slices.IndexFunc(segments, func(s Segment) bool { return s.Ino == m.ino && s.Dev == m.dev })
		for _, entry := range b.pagemap(pagemap, m) {
			switch {
			case entry>>62 == 1 && entry>>61&1 == 0: // swapped out, and not of a file
				w.swap += page
				continue
			case entry>>63 == 0:
				continue
			}
			number := entry & (1<<55 - 1)
			count, flags := b.frame(number)
			if flags&kpfZeroPage != 0 { // the kernel does not count it
				continue
			}
			if of != none && flags&kpfAnon == 0 {
				count -= b.outside
			}
			share := float64(page) / float64(count)
			w.rss += page
			w.pss += share
			if count == 1 {
				w.uss += page
			}
			switch {
			case flags&kpfAnon != 0:
				w.anon += page
				w.pssAnon += share
			case of == none:
				w.shared.pss += share
				if count == 1 {
					w.shared.uss += page
				}
			}
			if of == none {
				continue
			}
			d := &w.data[of]
			d.rss += page
			d.pss += share
			if flags&kpfAnon != 0 {
				d.anon += page
				if copies[of] == nil {
					copies[of] = map[uint64]bool{}
				}
				copies[of][number] = true
			} else if flags&kpfTHP != 0 {
				d.thp += page
			}
		}
	}
	w.pageTables += b.field(dir+"/status", "VmPTE:")
	b.huge(w, dir, segments)
}

// huge adds what of the segments is mapped by huge pages.
func (b *pageBooks) huge(w *truth, dir string, segments []Segment) {
	text, err := os.ReadFile(dir + "/smaps")
	if err != nil {
		b.t.Fatal(err)
	}
	of := -1
	for line := range strings.Lines(string(text)) {
		key, rest, _ := strings.Cut(line, " ")
		switch {
		case key == "ShmemPmdMapped:":
			kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				b.t.Fatal(err)
			}
			if of >= 0 {
				w.data[of].huge += kb << 10
			}
		case strings.Contains(key, "-"): // the head of a mapping
			inode := strings.Fields(rest)[3]
			of = slices.IndexFunc(segments, func(s Segment) bool { return strconv.FormatUint(s.Ino, 10) == inode })
		}
	}
}

type plainMapping struct{ start, end, dev, ino uint64 }

// mappings reads maps. What the kernel maps by itself without counting it is left out, and address space that is only
// reserved, of which the Go runtime has hundreds of MiB: were there a page in it, rss would not agree.
func (b *pageBooks) mappings(dir string) []plainMapping {
	text, err := os.ReadFile(dir + "/maps")
	if err != nil {
		b.t.Fatal(err)
	}
	var out []plainMapping
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) > 5 && (strings.HasPrefix(f[5], "[vvar") || f[5] == "[vsyscall]") {
			continue
		}
		start, end, _ := strings.Cut(f[0], "-")
		major, minor, _ := strings.Cut(f[3], ":")
		number := func(s string, base int) uint64 {
			n, err := strconv.ParseUint(s, base, 64)
			if err != nil {
				b.t.Fatalf("%s/maps: %q: %v", dir, line, err)
			}
			return n
		}
		m := plainMapping{
			start: number(start, 16), end: number(end, 16), ino: number(f[4], 10),
			dev: unix.Mkdev(uint32(number(major, 16)), uint32(number(minor, 16))),
		}
		if m.ino == 0 && f[1] == "---p" && m.end-m.start > 2<<20 {
			continue
		}
		if m.end-m.start > 64<<30 {
			b.t.Skip("the race detector's shadow memory is too large to be read page by page")
		}
		out = append(out, m)
	}
	return out
}

// pagemap reads the entries of a mapping.
func (b *pageBooks) pagemap(f *os.File, m plainMapping) []uint64 {
	page := uint64(os.Getpagesize())
	n := int((m.end - m.start) / page)
	b.entries = slices.Grow(b.entries[:0], n*8)[:n*8]
	if _, err := f.ReadAt(b.entries, int64(m.start/page*8)); err != nil {
		b.t.Fatal(err)
	}
	out := make([]uint64, n)
	for i := range out {
		out[i] = binary.NativeEndian.Uint64(b.entries[i*8:])
	}
	return out
}

// field reads a number of KiB.
func (b *pageBooks) field(path, key string) int64 {
	text, err := os.ReadFile(path)
	if err != nil {
		b.t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "\n"+key)
	if !found {
		b.t.Fatalf("%s has no %s", path, key)
	}
	kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		b.t.Fatal(err)
	}
	return kb << 10
}

// quietly tells whether all that f compares agrees.
func (b *pageBooks) quietly(f func()) bool {
	b.t.Helper()
	figures, zeros := b.figures, b.zeros
	b.quiet, b.missed = true, false
	f()
	b.quiet = false
	if b.missed {
		b.figures, b.zeros = figures, zeros
	}
	return !b.missed
}

func (b *pageBooks) errorf(format string, args ...any) {
	b.t.Helper()
	if b.missed = true; !b.quiet {
		b.t.Errorf(format, args...)
	}
}

// agree compares one figure: got may be up to below less than want, and above more.
func (b *pageBooks) agree(what string, got *int64, want float64, below, above int64) {
	b.t.Helper()
	b.figures++
	if want == 0 {
		b.zeros++
	}
	if got == nil {
		b.errorf("%s is not known, want %.0f", what, want)
		return
	}
	if d := float64(*got) - want; d < float64(-below)-0.5 || d > float64(above)+0.5 || math.IsNaN(d) {
		b.errorf("%s = %d, want %.1f, at most %d less or %d more (off by %+.1f)", what, *got, want, below, above, d)
	}
}
