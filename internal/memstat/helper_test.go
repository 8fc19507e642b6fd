// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// The helper process that tests measure: this test binary, executed again. It obeys one command a line on its standard
// input and answers each with one line, so that a test knows when something has happened.

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const helperVar = "PREFORKD_MEMSTAT_HELPER"

func TestMain(m *testing.M) {
	if control := os.Getenv(engineVar); control != "" {
		runtime.LockOSThread()
		engineMain(control)
		return
	}
	if os.Getenv(helperVar) != "" {
		runtime.LockOSThread()
		helperMain(os.Stdin, os.Stdout)
		return
	}
	os.Exit(m.Run())
}

func helperMain(in io.Reader, out io.Writer) {
	h := &helper{lines: bufio.NewScanner(in), out: out}
	h.run()
}

func (h *helper) run() {
	for h.lines.Scan() {
		answer, err := h.obey(h.lines.Text())
		if err != nil {
			answer = "error: " + err.Error()
		}
		fmt.Fprintln(h.out, answer)
	}
}

type helper struct {
	maps [][]byte
	keep [][]byte

	lines *bufio.Scanner
	out   io.Writer
}

func (h *helper) obey(line string) (string, error) {
	var a, b, c, d int
	page := os.Getpagesize()
	word, args, _ := strings.Cut(line, " ")
	_, _ = fmt.Sscan(args, &a, &b, &c, &d)
	switch word {
	case "sync": // has come as far as reading commands
		return "ok", nil
	case "shared", "private": // FD FIRST PAGES: maps these pages
		prot, flags := unix.PROT_READ, unix.MAP_SHARED
		if word == "private" {
			prot, flags = unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE
		}
		return h.add(mapAligned(a, b*page, c*page, prot, flags))
	case "unmap": // MAP: all of it
		return "ok", unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(h.maps[a])), uintptr(len(h.maps[a])))
	case "touch": // MAP FIRST END: reads these pages
		sum := byte(0)
		for i := b; i < c; i++ {
			sum += h.maps[a][i*page]
		}
		return fmt.Sprint("ok ", sum), nil
	case "write": // MAP FIRST END STEP: writes every STEPth of these pages
		for i := b; i < c; i += d {
			h.maps[a][i*page] = 1
		}
		return "ok", nil
	case "anon", "anonshared": // BYTES: takes memory of its own, private or shared
		flags := unix.MAP_PRIVATE
		if word == "anonshared" {
			flags = unix.MAP_SHARED
		}
		m, err := unix.Mmap(-1, 0, a, unix.PROT_READ|unix.PROT_WRITE, flags|unix.MAP_ANON)
		if err != nil {
			return "", err
		}
		for i := 0; i < len(m); i += page {
			m[i] = 1
		}
		h.keep = append(h.keep, m)
		return "ok", nil
	case "fork": // MAP FIRST END: a forked child writes these pages and stays
		return h.fork(a, b, c)
	case "kill": // PID: ends a child of its own and reaps it
		if err := unix.Kill(a, unix.SIGKILL); err != nil {
			return "", err
		}
		_, err := unix.Wait4(a, nil, 0, nil)
		return "ok", err
	case "load": // BYTES HUGE: makes a segment of pages of one kind and answers with its descriptor
		return load(a, b != 0)
	case "measure": // PID DEV INO: samples that process
		return measure(a, b, c)
	}
	return h.obeyReader(word, a, b, c)
}

func (h *helper) add(m []byte, err error) (string, error) {
	h.maps = append(h.maps, m)
	return "ok", err
}

// mapAligned maps a file at an address that is a multiple of 2 MiB, as huge pages need it.
func mapAligned(fd, offset, length, prot, flags int) ([]byte, error) {
	const huge = 2 << 20
	room, err := unix.MmapPtr(-1, 0, nil, uintptr(length+2*huge), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, err
	}
	at := unsafe.Add(room, (huge-uintptr(room)%huge)%huge)
	p, err := unix.MmapPtr(fd, int64(offset), at, uintptr(length), prot, flags|unix.MAP_FIXED)
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(p), length), nil
}

// fork forks without exec, which Go does not offer. The child runs on nothing but raw system calls.
//
//go:norace
func (h *helper) fork(index, first, end int) (string, error) {
	var done, life [2]int
	if err := errors.Join(unix.Pipe2(done[:], unix.O_CLOEXEC), unix.Pipe2(life[:], unix.O_CLOEXEC)); err != nil {
		return "", err
	}
	var target []byte
	if end > first {
		target = h.maps[index][first*os.Getpagesize() : end*os.Getpagesize()]
	}
	pid := forkAndWrite(target, os.Getpagesize(), done[1], life)
	if pid < 0 {
		return "", errors.New("cannot fork")
	}
	unix.Close(done[1])
	unix.Close(life[0]) // the child ends when the other side closes with this process
	var one [1]byte
	if n, err := unix.Read(done[0], one[:]); n != 1 {
		return "", fmt.Errorf("the child said nothing: %w", err)
	}
	return fmt.Sprint("ok ", pid), nil
}

//go:norace
//go:noinline
func forkAndWrite(target []byte, page, done int, life [2]int) int {
	var one [1]byte
	pid, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 {
		return -1
	}
	if pid != 0 {
		return int(pid)
	}
	for i := 0; i < len(target); i += page {
		target[i] = 2
	}
	syscall.RawSyscall(syscall.SYS_CLOSE, uintptr(life[1]), 0, 0)
	syscall.RawSyscall(syscall.SYS_WRITE, uintptr(done), uintptr(unsafe.Pointer(&one)), 1)
	syscall.RawSyscall(syscall.SYS_READ, uintptr(life[0]), uintptr(unsafe.Pointer(&one)), 1)
	syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
	return 0
}

// measure samples a process with this process's privileges and answers with its row.
func measure(pid, dev, ino int) (string, error) {
	s := New(Options{})
	defer s.close()
	seg := Segment{SegKey: SegKey{Name: "seg", Version: 1}, Dev: uint64(dev), Ino: uint64(ino)}
	s.Update([]Target{{PID: pid, Ready: true, Versions: []SegKey{seg.SegKey}}}, []Segment{seg})
	s.step(time.Now())
	row, err := json.Marshal(s.Latest().Workers[Key{}])
	return string(row), err
}
