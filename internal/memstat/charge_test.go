// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// What the account says is used, against the charge of a memory cgroup in which all of it happens, in eleven states.
//
// The charge is always a little more. It holds what no figure of /proc shows, all of it the kernel's own memory, with
// the sizes seen on Linux 6.18:
//   - the page index of a memfd of 4 KiB pages: 570 KiB for 256 MiB, 0.22 %; none to speak of with huge pages;
//   - of each process its stacks in the kernel, descriptions of threads, mappings and files, sockets, the first page
//     directory: some 160 KiB for a Go program with five threads;
//   - what a CPU has been charged in advance: up to 256 KiB for each, so all of it happens on two;
//   - for some seconds what ended processes leave behind.
//
// Page tables are the kernel's memory too, but VmPTE shows them. The workers run from a copy of this program that was
// written in the cgroup, so that the page cache they map is charged there; in life the charge of a library is with
// whoever read it first, and used has it all the same.

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// load makes a segment as preforkd does. The descriptor stays open in this process.
func load(size int, huge bool) (string, error) {
	fd, err := unix.MemfdCreate("seg", unix.MFD_CLOEXEC)
	if err != nil {
		return "", err
	}
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		return "", err
	}
	m, err := mapAligned(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return "", err
	}
	const chunk = 8 << 20
	for at := 0; at < size; at += chunk {
		part := m[at:min(at+chunk, size)]
		if huge {
			for i := 0; i < len(part); i += 2 << 20 {
				part[i] = 1
			}
			if err := collapse(part); err != nil {
				return "", err
			}
		}
		for i := 0; i < len(part); i += os.Getpagesize() {
			part[i] = byte(i >> 12)
		}
	}
	if err := unix.MunmapPtr(unsafe.Pointer(&m[0]), uintptr(size)); err != nil {
		return "", err
	}
	return fmt.Sprint("ok ", fd), nil
}

// cgroup is a fresh memory cgroup.
type cgroup struct {
	t   *testing.T
	dir string
}

func newCgroup(t *testing.T) *cgroup {
	t.Helper()
	name := fmt.Sprint("preforkd-test-", os.Getpid(), "-", time.Now().UnixNano())
	g := &cgroup{t: t, dir: filepath.Join("/sys/fs/cgroup/memory", name)}
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		t.Skipf("needs to make a memory cgroup of version 1: %v", err)
	}
	t.Cleanup(func() { _ = os.Remove(g.dir) })
	return g
}

// within runs f, whose new processes start in the cgroup: in version 1 each thread has its own.
func (g *cgroup) within(f func()) {
	g.t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home := "/"
	text, err := os.ReadFile("/proc/thread-self/cgroup")
	if err != nil {
		g.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if _, path, found := strings.Cut(strings.TrimSpace(line), ":memory:"); found {
			home = path
		}
	}
	defer onTwoCPUs(g.t)()
	g.join(g.dir)
	defer g.join(filepath.Join("/sys/fs/cgroup/memory", home))
	f()
}

// onTwoCPUs keeps this thread, and what it starts, on two CPUs until the returned function is called.
func onTwoCPUs(t *testing.T) (back func()) {
	t.Helper()
	var all, two unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	for i := 0; two.Count() < min(2, all.Count()); i++ {
		if all.IsSet(i) {
			two.Set(i)
		}
	}
	if err := unix.SchedSetaffinity(0, &two); err != nil {
		t.Fatal(err)
	}
	return func() { _ = unix.SchedSetaffinity(0, &all) }
}

func (g *cgroup) join(dir string) {
	g.t.Helper()
	if err := os.WriteFile(dir+"/tasks", []byte(strconv.Itoa(unix.Gettid())), 0o644); err != nil {
		g.t.Skipf("needs to enter a memory cgroup: %v", err)
	}
}

func (g *cgroup) number(file string) int64 {
	g.t.Helper()
	text, err := os.ReadFile(filepath.Join(g.dir, file))
	if err != nil {
		g.t.Fatal(err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		g.t.Fatal(err)
	}
	return n
}

// charged is a fleet in a cgroup of its own.
type charged struct {
	t       *testing.T
	group   *cgroup
	program *os.File // a copy of the test binary: its page cache is the cgroup's too
	loader  *child   // in the place of preforkd
	segment *Segment
	data    *source
	fd      int // the segment in the loader
	sampler *testSampler
	trees   []*tree
	within  float64 // how far used may be from the charge, as a share of it
}

const chargeWorkers = 8

func newCharged(t *testing.T, within float64) *charged {
	t.Helper()
	f := &charged{t: t, group: newCgroup(t), within: within, sampler: newTestSampler(t)}
	path := filepath.Join(t.TempDir(), "program")
	f.group.within(func() {
		if out, err := exec.Command("cp", fmt.Sprintf("/proc/%d/exe", os.Getpid()), path).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	})
	var err error
	if f.program, err = os.Open(path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.program.Close() })
	if err := f.program.Sync(); err != nil {
		t.Fatal(err)
	}
	f.group.within(func() { f.loader = startCommand(t, []string{path}, nil) })
	f.loader.do("sync")
	return f
}

// load fills the segment, with huge pages if that is 1.
func (f *charged) load(size int64, huge int) {
	f.t.Helper()
	answer := f.loader.ask(fmt.Sprint("load ", size, " ", huge))
	if strings.Contains(answer, "no huge pages") {
		f.t.Skip(answer)
	}
	if _, err := fmt.Sscanf(answer, "ok %d", &f.fd); err != nil {
		f.t.Fatal(answer)
	}
	file, err := os.Open(fmt.Sprintf("/proc/%d/fd/%d", f.loader.pid, f.fd))
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { file.Close() })
	f.segment = new(segmentOf(f.t, "seg", file))
	f.data = &source{name: "seg", file: file, pages: int(size) / os.Getpagesize()}
}

// grow starts workers until there are n.
func (f *charged) grow(n int) {
	f.t.Helper()
	var sources []*source
	if f.data != nil {
		sources = append(sources, f.data)
	}
	for i := len(f.trees); i < n; i++ {
		f.group.within(func() { f.trees = append(f.trees, grow(f.t, f.program.Name(), sources)) })
		w := f.trees[i]
		w.target = Target{Key: Key{Worker: i, Incarnation: 1}, PID: w.processes[0].pid, Ready: true}
		if f.segment != nil {
			w.target.Versions = []SegKey{f.segment.SegKey}
		}
	}
}

// each lets the workers from a number on map the segment anew and touch a part of it.
func (f *charged) each(from int, flags int64, pages int) {
	f.t.Helper()
	for _, w := range f.trees[from:] {
		p := w.processes[0]
		for _, m := range p.maps {
			w.unmap(p, m, 0, len(m.prot))
		}
		p.maps = nil
		w.touch(p, w.add(p, f.data, 3, 0, f.data.pages, flags), 0, pages)
	}
}

func (f *charged) write(worker, pages, step int) {
	w := f.trees[worker]
	w.write(w.processes[0], w.processes[0].maps[0], 0, pages, step)
}

// held is what the loader holds itself, as readSelf of step.go reckons it of the process that it is in.
func (f *charged) held() *int64 {
	f.t.Helper()
	m, err := openMember("/proc", f.loader.pid, &f.sampler.text)
	if err != nil {
		f.t.Fatal(err)
	}
	defer m.close()
	r, err := readRollup(m, &f.sampler.text, &f.sampler.calls)
	if err != nil {
		f.t.Fatal(err)
	}
	return Self{PSS: new(r.pssAnon + r.pssFile), PageTables: &m.now.pageTables}.Held()
}

// check compares. The kernel is late with taking some of what was given back off the charge, on a busy machine by seconds, hence
// the patience; between two looks it gets time to do so.
func (f *charged) check(state string) {
	f.t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; <-again.C {
		used, charge := f.compare()
		off := float64(used-charge) / float64(charge)
		if agrees := math.Abs(off) <= f.within; agrees || time.Now().After(deadline) {
			f.t.Logf("%-38s used %7d KiB, charged %7d KiB: %+.2f %%", state, used>>10, charge>>10, 100*off)
			if !agrees {
				f.t.Errorf("%s: that is more than %.1f %%", state, 100*f.within)
			}
			return
		}
	}
}

// compare measures both.
func (f *charged) compare() (used, charge int64) {
	f.t.Helper()
	in := Account{Supervisor: f.held(), Ready: len(f.trees)}
	var segments []Segment
	if f.segment != nil {
		in.Data, in.Newest, in.Full = f.segment.Size, f.segment.Size, f.segment.Size*int64(len(f.trees))
		segments = append(segments, *f.segment)
	}
	var targets []Target
	for _, w := range f.trees {
		targets = append(targets, w.target)
	}
	f.sampler.Update(targets, segments)
	fleet := f.sampler.after(2 * time.Minute)
	for _, target := range targets {
		in.Workers = append(in.Workers, fleet.Workers[target.Key])
	}
	m := Totals(in)
	if m.Used == nil {
		f.t.Fatalf("what is used is not known: %+v", m)
	}
	// What of the program nobody maps is page cache that the kernel keeps as long as it likes.
	if err := unix.Fadvise(int(f.program.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		f.t.Fatal(err)
	}
	return *m.Used, f.group.number("memory.usage_in_bytes")
}

// The segments are as large as makes the kernel's own memory small beside them.
func TestUsedAgreesWithTheChargeOfACgroup(t *testing.T) {
	t.Run("4 KiB pages", func(t *testing.T) { testCharge(t, 384<<20, 0, 0.01) })
	t.Run("huge pages", func(t *testing.T) { testCharge(t, 512<<20, 1, 0.005) })
}

func testCharge(t *testing.T, size int64, huge int, within float64) {
	f := newCharged(t, within)
	f.load(size, huge)
	pages := f.data.pages
	f.check("A filled, mapped by nobody")
	f.grow(1)
	f.each(0, 0, pages)
	f.check("B one worker")
	f.grow(chargeWorkers)
	f.each(1, 0, pages)
	f.check("C eight workers")
	f.segment.Locked = true
	f.loader.do(fmt.Sprint("shared ", f.fd, " 0 ", pages), fmt.Sprint("touch 0 0 ", pages))
	f.check("D preforkd maps it as well")
	f.loader.do("unmap 0")
	f.segment.Locked = false
	f.each(0, 0, pages/2)
	f.check("E each touches only the first half")
	f.each(0, mapWrite, pages)
	f.check("F mapped privately, no writes")
	f.write(0, 1000, 1)
	f.check("G worker 0 wrote 1000 pages")
	f.write(1, pages, pages/256)
	f.check("H worker 1 wrote 256 pages, far apart")
	for i := range f.trees {
		f.write(i, 1000, 1)
	}
	f.check("I all wrote the same 1000 pages")
	for _, w := range f.trees {
		w.fell()
	}
	f.trees = nil
	f.check("J the workers are gone")

	own := newCharged(t, within)
	own.grow(chargeWorkers)
	pages = 64 << 20 / os.Getpagesize()
	anonymous := &source{name: "anonymous", pages: pages, writable: true}
	for _, w := range own.trees {
		p := w.processes[0]
		m := w.add(p, anonymous, -1, 0, pages, mapWrite)
		if huge > 0 {
			w.do(p, order{opAdvise, int64(m.index), 0, int64(pages), unix.MADV_HUGEPAGE})
		}
		w.write(p, m, 0, pages, 1)
	}
	own.check("L eight copies instead")
}
