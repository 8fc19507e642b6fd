// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package ready

// The threads of a process: is one of them inside accept, poll or select on a listening socket?

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// syscalls are the numbers of the calls a thread can wait for connections in; absent where an architecture has none.
type syscalls struct{ accept, accept4, poll, ppoll, selekt, pselect6 int }

const (
	absent  = -2      // -1 is what /proc shows for a thread that is blocked outside a system call
	pollMax = 1 << 20 // entries; the kernel refuses more than RLIMIT_NOFILE, whose ceiling (fs.nr_open) this is
)

var (
	errArch  = errors.New("the system call numbers of this architecture are not known")
	err32Bit = errors.New("it may be a 32-bit program, whose system call numbers are others")
)

// threads tells whether a thread of the process in dir waits on one of l.listen.
func (l *looker) threads(dir string) (waits bool, err error) {
	if l.numbers.accept == absent {
		return false, errArch
	}
	task := dir + "/task"
	fd, err := l.list(task)
	if err != nil {
		if gone(err) {
			return false, nil
		}
		return false, err
	}
	defer unix.Close(fd)
	mem := memory{path: dir + "/mem", fd: -1}
	defer mem.close()

	var failed error
	for _, tid := range l.names {
		waits, err := l.thread(fd, dir, tid, &mem)
		if waits {
			return true, nil
		}
		if err != nil && failed == nil {
			failed = err
		}
	}
	return false, failed
}

// thread judges one thread. The call and the descriptor are read again before a yes: between two reads the thread may
// have returned and its memory hold something else, or the number have become another file.
func (l *looker) thread(task int, dir, tid string, mem *memory) (waits bool, err error) {
	name := tid + "/syscall"
	line, err := l.read(task, name)
	if err != nil {
		// A kernel without CONFIG_HAVE_ARCH_TRACEHOOK (and gVisor) has no such file, for a thread that lives.
		if gone(err) && unix.Faccessat(task, tid, unix.F_OK, 0) != nil {
			return false, nil
		}
		return false, err
	}
	before, ok := parseCall(line)
	if !ok {
		return false, nil
	}
	// A 32-bit program has other numbers (7 is poll on amd64 and waitpid on i386). Its stack is below 4 GiB; that of
	// a 64-bit thread can be, too, if the program chose so: then we do not know either.
	if before.sp < 1<<32 {
		return false, err32Bit
	}
	fd, err := l.awaited(before, mem)
	if fd < 0 || err != nil {
		return false, err
	}
	line, err = l.read(task, name)
	if err != nil {
		return false, nil
	}
	if after, ok := parseCall(line); !ok || after != before {
		return false, nil
	}
	link, err := l.link(unix.AT_FDCWD, "", dir+"/fd/"+strconv.Itoa(fd))
	if err != nil {
		return false, nil
	}
	inode, ok := socketInode(link)
	return ok && slices.Contains(l.inodes, inode), nil
}

// awaited returns which of l.listen the call waits on for input, -1 if none.
func (l *looker) awaited(c call, mem *memory) (fd int, err error) {
	switch c.number {
	case l.numbers.accept, l.numbers.accept4:
		if fd := int(int32(c.args[0])); l.listens(fd) {
			return fd, nil
		}
	case l.numbers.poll, l.numbers.ppoll:
		return l.polled(c.args[0], uint32(c.args[1]), mem)
	case l.numbers.selekt, l.numbers.pselect6:
		return l.selected(int(int32(c.args[0])), c.args[1], mem)
	}
	return -1, nil
}

// polled looks through an array of count struct pollfd (int fd; short events, revents).
func (l *looker) polled(array uint64, count uint32, mem *memory) (fd int, err error) {
	const size, chunk = 8, 512
	if count > pollMax {
		return -1, nil
	}
	for done := uint32(0); done < count; {
		n := min(count-done, chunk)
		text, err := mem.read(array+uint64(done)*size, int(n)*size)
		if err != nil || text == nil {
			return -1, err
		}
		for entry := range slices.Chunk(text, size) {
			fd := int(int32(binary.NativeEndian.Uint32(entry)))
			events := binary.NativeEndian.Uint16(entry[4:])
			if events&input != 0 && l.listens(fd) {
				return fd, nil
			}
		}
		done += n
	}
	return -1, nil
}

// selected looks up each of l.listen in an fd_set for descriptors below limit. The set is an array of words; on the
// little-endian machines whose numbers we know, bit fd is bit fd%8 of byte fd/8.
func (l *looker) selected(limit int, set uint64, mem *memory) (fd int, err error) {
	if set == 0 {
		return -1, nil
	}
	for _, s := range l.listen {
		fd := s.number
		if fd >= limit {
			continue
		}
		text, err := mem.read(set+uint64(fd/8), 1)
		if err != nil {
			return -1, err
		}
		if text != nil && text[0]&(1<<(fd%8)) != 0 {
			return fd, nil
		}
	}
	return -1, nil
}

// call is a line of /proc/PID/task/TID/syscall: "NUMBER ARG×6 SP PC", all but the number in hexadecimal with 0x.
type call struct {
	number int
	args   [6]uint64
	sp, pc uint64
}

// parseCall reads the line of a thread inside a system call. It refuses "running", "-1 SP PC" (blocked elsewhere, as in
// a page fault) and anything else.
func parseCall(line []byte) (call, bool) {
	var c call
	word, rest, _ := bytes.Cut(bytes.TrimRight(line, "\n"), []byte(" "))
	number, err := strconv.ParseUint(string(word), 10, 31)
	if err != nil {
		return call{}, false
	}
	c.number = int(number)
	for _, to := range [...]*uint64{
		&c.args[0], &c.args[1], &c.args[2], &c.args[3], &c.args[4], &c.args[5], &c.sp, &c.pc,
	} {
		word, rest, _ = bytes.Cut(rest, []byte(" "))
		digits, ok := bytes.CutPrefix(word, []byte("0x"))
		if !ok {
			return call{}, false
		}
		if *to, err = strconv.ParseUint(string(digits), 16, 64); err != nil {
			return call{}, false
		}
	}
	if len(rest) > 0 {
		return call{}, false
	}
	return c, true
}
