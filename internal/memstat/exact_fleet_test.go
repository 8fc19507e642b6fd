// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// The fleet that the exact tests drive: workers made of engines, and what a test must know of them to give only orders
// that can be carried out.

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxProcesses bounds a worker's tree.
const maxProcesses = 6

// source is something to map.
type source struct {
	name     string
	file     *os.File // nil: anonymous memory
	pages    int
	writable bool // a shared mapping of it may be written
}

// tree is one worker.
type tree struct {
	t         testing.TB
	cmd       *exec.Cmd
	sockets   []*os.File // the test's ends, one for each process there may be
	control   int        // the descriptor of the first of the other ends, in the worker
	processes []*proc    // the leader first
	target    Target
}

// proc is one process of a tree.
type proc struct {
	pid    int
	slot   int // its socket
	parent *proc
	maps   []*mapped
	count  int // maps it has ever had: the number of the next
}

// mapped is one mapping as a process has it now.
type mapped struct {
	index  int
	prot   []int8 // of each page; -1 where it is unmapped
	source *source
}

// grow starts a worker from this test binary, or a copy of it, that has the sources as descriptors 3, 4 …
func grow(t testing.TB, program string, sources []*source) *tree {
	t.Helper()
	w := &tree{t: t}
	var files []*os.File
	for _, s := range sources {
		if s.file != nil {
			files = append(files, s.file)
		}
	}
	w.control = 3 + len(files)
	for range maxProcesses {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.SetNonblock(fds[0], true); err != nil {
			t.Fatal(err)
		}
		w.sockets = append(w.sockets, os.NewFile(uintptr(fds[0]), "engine"))
		files = append(files, os.NewFile(uintptr(fds[1]), "control"))
	}
	w.cmd = exec.Command(program)
	w.cmd.Env = append(os.Environ(), fmt.Sprint(engineVar, "=", w.control), "GOMAXPROCS=1", "GODEBUG=madvdontneed=1")
	w.cmd.Stderr = os.Stderr
	w.cmd.ExtraFiles = files
	err := w.cmd.Start()
	for _, f := range files[len(files)-maxProcesses:] {
		f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.fell)
	w.processes = []*proc{{pid: w.cmd.Process.Pid}}
	if r := w.send(w.processes[0], order{}); r.Errno != int64(unix.ENOSYS) {
		t.Fatalf("the engine answered %+v", r)
	}
	return w
}

func (w *tree) pids() []int {
	var pids []int
	for _, p := range w.processes {
		pids = append(pids, p.pid)
	}
	return pids
}

// send gives an order and waits for the answer.
func (w *tree) send(p *proc, o order) reply {
	w.t.Helper()
	message := unsafe.Slice((*byte)(unsafe.Pointer(&o)), unsafe.Sizeof(o))
	if _, err := w.sockets[p.slot].Write(message); err != nil {
		w.t.Fatalf("process %d: %+v: %v", p.pid, o, err)
	}
	return w.hear(p.slot)
}

// do gives an order that must succeed.
func (w *tree) do(p *proc, o order) int64 {
	w.t.Helper()
	r := w.send(p, o)
	if r.Errno != 0 {
		w.t.Fatalf("process %d: %+v: %v", p.pid, o, unix.Errno(r.Errno))
	}
	return r.Value
}

func (w *tree) hear(slot int) reply {
	w.t.Helper()
	var answer [16]byte
	if err := w.sockets[slot].SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		w.t.Fatal(err)
	}
	if n, err := w.sockets[slot].Read(answer[:]); err != nil || n != len(answer) {
		w.t.Fatalf("no answer: %d bytes, %v", n, err)
	}
	return reply{
		Value: int64(binary.NativeEndian.Uint64(answer[:])), Errno: int64(binary.NativeEndian.Uint64(answer[8:])),
	}
}

// add maps a part of a source.
func (w *tree) add(p *proc, s *source, fd, first, pages int, flags int64) *mapped {
	w.t.Helper()
	if flags&mapPrivate == 0 && !s.writable {
		flags &^= mapWritable
	}
	m := &mapped{index: p.count, source: s, prot: make([]int8, pages)}
	prot := int8(unix.PROT_READ)
	if flags&mapWritable != 0 {
		prot |= unix.PROT_WRITE
	}
	for i := range m.prot {
		m.prot[i] = prot
	}
	if got := w.do(p, order{opMap, int64(fd), int64(first), int64(pages), flags}); got != int64(m.index) {
		w.t.Fatalf("map %d is %d", m.index, got)
	}
	p.count++
	p.maps = append(p.maps, m)
	return m
}

// where calls f for each run of pages in [first, end) of a mapping that have all bits of prot.
func (m *mapped) where(first, end int, prot int8, f func(first, end int64)) {
	for i := first; i < end; {
		j := i
		for j < end && m.prot[j] >= 0 && m.prot[j]&prot == prot {
			j++
		}
		if j > i {
			f(int64(i), int64(j))
		}
		i = max(j, i+1)
	}
}

func (w *tree) touch(p *proc, m *mapped, first, end int) {
	m.where(first, end, unix.PROT_READ, func(i, j int64) { w.do(p, order{opTouch, int64(m.index), i, j, 0}) })
}

func (w *tree) write(p *proc, m *mapped, first, end, step int) {
	m.where(first, end, unix.PROT_READ|unix.PROT_WRITE, func(i, j int64) {
		w.do(p, order{opWrite, int64(m.index), i, j, int64(step)})
	})
}

// protect changes what may be done with pages; a shared mapping of a segment cannot be made writable.
func (w *tree) protect(p *proc, m *mapped, first, end int, prot int8) {
	m.where(first, end, 0, func(i, j int64) {
		if r := w.send(p, order{opProtect, int64(m.index), i, j, int64(prot)}); r.Errno == int64(unix.EACCES) {
			return
		} else if r.Errno != 0 {
			w.t.Fatalf("mprotect: %v", unix.Errno(r.Errno))
		}
		for k := i; k < j; k++ {
			m.prot[k] = prot
		}
	})
}

// unmap leaves out what is unmapped already: another mapping may be there by now.
func (w *tree) unmap(p *proc, m *mapped, first, end int) {
	m.where(first, end, 0, func(i, j int64) {
		w.do(p, order{opUnmap, int64(m.index), i, j, 0})
		for k := i; k < j; k++ {
			m.prot[k] = -1
		}
	})
}

func (w *tree) forget(p *proc, m *mapped, first, end int) {
	m.where(first, end, 0, func(i, j int64) { w.do(p, order{opAdvise, int64(m.index), i, j, unix.MADV_DONTNEED}) })
}

// fork gives p a child, nil when the tree is as large as it may be.
func (w *tree) fork(p *proc) *proc {
	w.t.Helper()
	used := map[int]bool{}
	for _, other := range w.processes {
		used[other.slot] = true
	}
	child := &proc{parent: p, count: p.count}
	for used[child.slot] {
		child.slot++
	}
	if child.slot == maxProcesses {
		return nil
	}
	socket := w.control + child.slot
	child.pid = int(w.do(p, order{opFork, int64(socket), 0, 0, 0}))
	w.hear(child.slot) // it is there
	for _, m := range p.maps {
		twin := *m
		twin.prot = slices.Clone(m.prot)
		child.maps = append(child.maps, &twin)
	}
	w.processes = append(w.processes, child)
	return child
}

// kill ends a process and what it has forked, the youngest first: one whose parent has ended would be no part of the
// tree any more.
func (w *tree) kill(p *proc) {
	w.t.Helper()
	for _, other := range slices.Clone(w.processes) {
		if other.parent == p {
			w.kill(other)
		}
	}
	end(w.t, p.pid)
	w.processes = slices.DeleteFunc(w.processes, func(other *proc) bool { return other == p })
}

// end kills a process and waits until it has no memory any more.
func end(t testing.TB, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(poll, 20_000)
		if n == 1 {
			return
		}
		if err != unix.EINTR {
			t.Fatalf("process %d does not end: %v", pid, err)
		}
	}
}

// fell ends the whole worker.
func (w *tree) fell() {
	if w.cmd.ProcessState != nil {
		return
	}
	for _, p := range w.processes {
		_ = unix.Kill(p.pid, unix.SIGKILL)
	}
	_ = w.cmd.Wait()
	for _, s := range w.sockets {
		s.Close()
	}
}
