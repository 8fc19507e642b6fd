// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// Real segments, real processes, and an independent reading of what the kernel says of them.

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// newSegment makes a memfd of some pages, every page written, and returns it with a read-only descriptor.
func newSegment(t testing.TB, name string, pages int) (Segment, *os.File) {
	t.Helper()
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	page := make([]byte, os.Getpagesize())
	for i := range pages {
		page[0] = byte(i)
		if _, err := unix.Pwrite(fd, page, int64(i*len(page))); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return segmentOf(t, name, f), f
}

func segmentOf(t testing.TB, name string, f *os.File) Segment {
	t.Helper()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	return Segment{
		SegKey: SegKey{Name: name, Version: 1}, Dev: st.Dev, Ino: st.Ino, Size: info.Size(),
		Allocated: func() (int64, error) { return st.Blocks * 512, nil },
	}
}

// child is a helper process.
type child struct {
	t   testing.TB
	pid int
	in  io.Writer
	out *bufio.Reader
	cmd *exec.Cmd
}

// start starts a helper that has the files as descriptors 3, 4 …
func start(t testing.TB, files ...*os.File) *child {
	t.Helper()
	return startAs(t, nil, files...)
}

func startAs(t testing.TB, attr *syscall.SysProcAttr, files ...*os.File) *child {
	t.Helper()
	return startThrough(t, nil, attr, files...)
}

// startThrough starts a helper by a command that execs it.
func startThrough(t testing.TB, through []string, attr *syscall.SysProcAttr, files ...*os.File) *child {
	t.Helper()
	binary := "/proc/self/exe"
	if len(through) > 0 { // there that would be another program
		var err error
		if binary, err = os.Executable(); err != nil {
			t.Fatal(err)
		}
	}
	return startCommand(t, append(slices.Clone(through), binary), attr, files...)
}

func startCommand(t testing.TB, command []string, attr *syscall.SysProcAttr, files ...*os.File) *child {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), helperVar+"=1")
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = files
	cmd.SysProcAttr = attr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{t: t, pid: cmd.Process.Pid, in: in, out: bufio.NewReader(out), cmd: cmd}
	t.Cleanup(c.end)
	return c
}

// do gives commands and waits until they are done. It returns the number in the last answer, if there is one.
func (c *child) do(commands ...string) int {
	c.t.Helper()
	var number int
	for _, command := range commands {
		answer := c.ask(command)
		if word, rest, _ := strings.Cut(answer, " "); word != "ok" {
			c.t.Fatalf("helper: %s: %s", command, answer)
		} else if rest != "" {
			number, _ = strconv.Atoi(rest)
		}
	}
	return number
}

func (c *child) ask(command string) string {
	c.t.Helper()
	if _, err := fmt.Fprintln(c.in, command); err != nil {
		c.t.Fatal(err)
	}
	answer, err := c.out.ReadString('\n')
	if err != nil {
		c.t.Fatalf("helper: %s: no answer: %v", command, err)
	}
	return strings.TrimSpace(answer)
}

// end ends the helper and reaps it.
func (c *child) end() {
	if c.cmd.ProcessState == nil {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
	}
}

// testSampler is a sampler whose steps the test takes.
type testSampler struct {
	*Sampler
	t   testing.TB
	now time.Time
}

func newTestSampler(t testing.TB) *testSampler {
	t.Helper()
	runtime.LockOSThread()
	s := New(Options{Budget: 1})
	s.patience = time.Hour // no step is cut short because the machine is busy
	t.Cleanup(func() {
		s.close()
		runtime.UnlockOSThread()
	})
	return &testSampler{Sampler: s, t: t, now: time.Now()}
}

// after lets time pass, without waiting for it, and takes a step.
func (s *testSampler) after(d time.Duration) *Fleet {
	s.now = s.now.Add(d)
	s.step(s.now)
	return s.Latest()
}

// target makes a ready target of a helper.
func target(worker int, c *child, segments ...Segment) Target {
	out := Target{Key: Key{Worker: worker, Incarnation: 1}, PID: c.pid, Ready: true}
	for _, seg := range segments {
		out.Versions = append(out.Versions, seg.SegKey)
	}
	return out
}

// vma is one entry of smaps, its fields in bytes.
type vma struct {
	header string
	ino    uint64
	fields map[string]int64
}

var (
	smapsHeader = regexp.MustCompile(`^[0-9a-f]+-[0-9a-f]+ \S{4} [0-9a-f]+ [0-9a-f]+:[0-9a-f]+ (\d+)`)
	smapsField  = regexp.MustCompile(`^(\w+): +(\d+) kB$`)
)

// readSmaps reads smaps, smaps_rollup or maps in the plainest way.
func readSmaps(t testing.TB, pid int, name string) []vma {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	if err != nil {
		t.Fatal(err)
	}
	var out []vma
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if m := smapsHeader.FindStringSubmatch(line); m != nil {
			ino, _ := strconv.ParseUint(m[1], 10, 64)
			out = append(out, vma{header: line, ino: ino, fields: map[string]int64{}})
		} else if m := smapsField.FindStringSubmatch(line); m != nil {
			kb, _ := strconv.ParseInt(m[2], 10, 64)
			out[len(out)-1].fields[m[1]] = kb << 10
		}
	}
	return out
}

// figures is what the kernel says of some processes, in bytes by the name of the field.
type figures struct {
	all      map[string]int64 // Σ smaps_rollup
	seg      map[string]int64 // Σ smaps of the mappings of one segment
	mappings int64            // how many those are: the kernel cuts each of their figures to whole KiB
}

// kernelFigures reads them once.
func kernelFigures(t testing.TB, seg Segment, pids ...int) figures {
	t.Helper()
	out := figures{all: map[string]int64{}, seg: map[string]int64{}}
	for _, pid := range pids {
		for field, value := range readSmaps(t, pid, "smaps_rollup")[0].fields {
			out.all[field] += value
		}
		for _, m := range readSmaps(t, pid, "smaps") {
			if m.ino != seg.Ino {
				continue
			}
			out.mappings++
			for field, value := range m.fields {
				out.seg[field] += value
			}
		}
	}
	return out
}

// checkNear fails unless got is known and within slack bytes of want.
func checkNear(t testing.TB, what string, got *int64, want, slack int64) {
	t.Helper()
	if got == nil {
		t.Errorf("%s is not known, want %d", what, want)
	} else if d := *got - want; d > slack || d < -slack {
		t.Errorf("%s = %d, want %d ± %d (off by %d)", what, *got, want, slack, d)
	}
}
