// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package shm

// Every way to change a sealed segment, tried from its maker, from a child and from a child with another uid.

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// target is a sealed segment under attack.
type target struct {
	ro   int // as a consumer gets it
	rw   int // opened for writing before the seals, by a Writer
	size int64
}

// refusal is one attempt and the errors that count as refused.
type refusal struct {
	name string
	try  func(target) error
	want []unix.Errno
}

var (
	byte1   = []byte("X")
	denied  = []unix.Errno{unix.EPERM}
	noWrite = []unix.Errno{unix.EACCES, unix.EPERM}
)

func refusals() []refusal {
	onWritable := []refusal{
		{"write", func(g target) error { return second(unix.Write(g.rw, byte1)) }, denied},
		{"pwrite", func(g target) error { return second(unix.Pwrite(g.rw, byte1, 0)) }, denied},
		{"append", func(g target) error { return second(unix.Pwrite(g.rw, byte1, g.size)) }, denied},
		{"pwritev2", func(g target) error { return second(unix.Pwritev2(g.rw, [][]byte{byte1}, 0, 0)) }, denied},
		{"ftruncate up", func(g target) error { return unix.Ftruncate(g.rw, g.size+1) }, denied},
		{"ftruncate up a page", func(g target) error { return unix.Ftruncate(g.rw, g.size+1<<20) }, denied},
		{"ftruncate down", func(g target) error { return unix.Ftruncate(g.rw, g.size-1) }, denied},
		{"ftruncate to nothing", func(g target) error { return unix.Ftruncate(g.rw, 0) }, denied},
		{"fallocate", func(g target) error { return unix.Fallocate(g.rw, 0, g.size, 4096) }, denied},
		{"punch a hole", func(g target) error {
			return unix.Fallocate(g.rw, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 4096)
		}, denied},
		{"sendfile", func(g target) error { return second(unix.Sendfile(g.rw, g.ro, new(int64), 1)) }, denied},
		{"splice", splice, denied},
		{"map shared and writable", func(g target) error {
			return mapped(g.rw, unix.PROT_READ|unix.PROT_WRITE, nil)
		}, denied},
		{"mprotect", func(g target) error { return mapped(g.rw, unix.PROT_READ, makeWritable) }, noWrite},
		{"MADV_REMOVE", func(g target) error { return mapped(g.rw, unix.PROT_READ, remove) }, noWrite},
		{"add a seal", func(g target) error {
			return second(unix.FcntlInt(uintptr(g.rw), unix.F_ADD_SEALS, unix.F_SEAL_FUTURE_WRITE))
		}, denied},
		{"make it executable", func(g target) error {
			// Before Linux 6.3 there is no seal against it.
			if got, _ := unix.FcntlInt(uintptr(g.rw), unix.F_GET_SEALS, 0); got&unix.F_SEAL_EXEC == 0 {
				return unix.EPERM
			}
			return unix.Fchmod(g.rw, 0o555)
		}, denied},
	}
	all := slices.Clone(onWritable)
	// Opened for writing once more: root may, everybody else is stopped there.
	for _, r := range onWritable {
		all = append(all, refusal{"reopened, " + r.name, func(g target) error {
			return reopened(g, unix.O_RDWR, r.try)
		}, noWrite})
	}
	return append(all,
		refusal{"open and truncate", func(g target) error {
			return reopened(g, unix.O_RDWR|unix.O_TRUNC, func(target) error { return nil })
		}, noWrite},
		refusal{"write through the read-only descriptor", func(g target) error {
			return second(unix.Pwrite(g.ro, byte1, 0))
		}, []unix.Errno{unix.EBADF}},
		refusal{"ftruncate through the read-only descriptor", func(g target) error {
			return unix.Ftruncate(g.ro, 0)
		}, []unix.Errno{unix.EINVAL, unix.EBADF}},
		refusal{"map the read-only descriptor shared and writable", func(g target) error {
			return mapped(g.ro, unix.PROT_READ|unix.PROT_WRITE, nil)
		}, noWrite},
		refusal{"mprotect a map of the read-only descriptor", func(g target) error {
			return mapped(g.ro, unix.PROT_READ, makeWritable)
		}, noWrite},
		refusal{"MADV_REMOVE on a map of the read-only descriptor", func(g target) error {
			return mapped(g.ro, unix.PROT_READ, remove)
		}, noWrite},
		refusal{"write to the map through /proc/self/mem", func(g target) error {
			return mapped(g.ro, unix.PROT_READ, pokeMem)
		}, []unix.Errno{unix.EIO, unix.EFAULT, unix.EACCES}},
		refusal{"process_vm_writev to the map", func(g target) error {
			return mapped(g.ro, unix.PROT_READ, pokeVM)
		}, []unix.Errno{unix.EFAULT}},
	)
}

func second[T any](_ T, err error) error { return err }

// mapped maps fd shared, lets then do its worst and unmaps it.
func mapped(fd, prot int, then func([]byte) error) error {
	m, err := unix.Mmap(fd, 0, os.Getpagesize(), prot, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	defer unix.Munmap(m)
	if then == nil {
		return nil
	}
	return then(m)
}

func makeWritable(m []byte) error { return unix.Mprotect(m, unix.PROT_READ|unix.PROT_WRITE) }

func remove(m []byte) error { return unix.Madvise(m, unix.MADV_REMOVE) }

func pokeMem(m []byte) error {
	fd, err := unix.Open("/proc/self/mem", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return second(unix.Pwrite(fd, byte1, int64(uintptr(unsafe.Pointer(&m[0])))))
}

func pokeVM(m []byte) error {
	local := []unix.Iovec{{Base: &byte1[0], Len: 1}}
	remote := []unix.RemoteIovec{{Base: uintptr(unsafe.Pointer(&m[0])), Len: 1}}
	return second(unix.ProcessVMWritev(os.Getpid(), local, remote, 0))
}

func splice(g target) error {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	if _, err := unix.Write(p[1], byte1); err != nil {
		return err
	}
	return second(unix.Splice(p[0], nil, g.rw, new(int64), 1, 0))
}

// reopened tries the same through a new descriptor, opened by path.
func reopened(g target, flags int, try func(target) error) error {
	fd, err := unix.Open(procPath(g.ro), flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	g.rw = fd
	return try(g)
}

// attack tries everything and returns how often it was refused, or the attempts that were not or that changed a byte.
func attack(g target, data []byte) (int, error) {
	var bad []error
	all := refusals()
	for _, r := range all {
		err := r.try(g)
		if !slices.ContainsFunc(r.want, func(e unix.Errno) bool { return errors.Is(err, e) }) {
			bad = append(bad, fmt.Errorf("%s: got %v, want one of %v", r.name, err, r.want))
		}
		got := make([]byte, len(data)+1)
		if n, err := unix.Pread(g.ro, got, 0); err != nil || !bytes.Equal(got[:n], data) {
			bad = append(bad, fmt.Errorf("%s: changed the content (%d bytes, %v)", r.name, n, err))
		}
	}
	return len(all) - len(bad), errors.Join(bad...)
}

// attacked is a segment and the writable descriptor that somebody kept from before it was sealed.
func attacked(t *testing.T, data []byte) (s *Segment, rw *os.File) {
	t.Helper()
	w := filled(t, data)
	fd, err := unix.FcntlInt(w.file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	rw = os.NewFile(uintptr(fd), "kept")
	t.Cleanup(func() { rw.Close() })
	if s, err = w.Seal(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, rw
}

const attackedSize = 3*4096 + 5

func TestSealedSegmentRefusesEveryChangeByItsMaker(t *testing.T) {
	data := noise(attackedSize)
	s, rw := attacked(t, data)
	before, err := s.Allocated()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := attack(target{ro: s.FD(), rw: int(rw.Fd()), size: s.Size()}, data); err != nil {
		t.Error(err)
	}
	if after, err := s.Allocated(); after != before || err != nil {
		t.Errorf("allocated %d before and %d after (%v)", before, after, err)
	}
}

func TestSealedSegmentRefusesEveryChangeByAChild(t *testing.T) {
	data := noise(attackedSize)
	for name, uid := range map[string]uint32{"same uid": 0, "another uid": nobody} {
		t.Run(name, func(t *testing.T) {
			if uid != 0 && os.Geteuid() != 0 {
				t.Skip("only root can start a child with another uid")
			}
			s, rw := attacked(t, data)
			ro, err := s.Open()
			if err != nil {
				t.Fatal(err)
			}
			defer ro.Close()
			out := run(t, child(t, "refusals", uid, ro, rw))
			if want := strconv.Itoa(len(refusals())) + " refused\n"; out != want {
				t.Errorf("the child said %q, want %q", out, want)
			}
			if !bytes.Equal(content(t, s), data) {
				t.Error("the child changed the content")
			}
		})
	}
}

// helpRefusals attacks descriptors 3 (of a consumer) and 4 (kept by a writer).
func helpRefusals() error {
	s, err := Inherit(3)
	if err != nil {
		return err
	}
	if _, err := Inherit(4); err == nil || !strings.Contains(err.Error(), "open for writing") {
		return fmt.Errorf("descriptor 4 was taken for a segment: %v", err)
	}
	n, err := attack(target{ro: s.FD(), rw: 4, size: s.Size()}, noise(attackedSize))
	fmt.Println(n, "refused")
	return err
}

func TestPrivateWritableMapLeavesTheSegmentAlone(t *testing.T) {
	data := noise(attackedSize)
	s := sealed(t, data)
	m, err := unix.Mmap(s.FD(), 0, len(data), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(m)
	clear(m)
	if !bytes.Equal(content(t, s), data) {
		t.Error("a write to a private map reached the segment")
	}
}
