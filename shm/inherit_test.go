// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package shm

// What Inherit refuses: a number in a grandchild may be any file.

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// raw opens a memfd with some seals, for reading only unless writable.
func raw(t *testing.T, size int64, add int, writable bool) int {
	t.Helper()
	fd, err := memfd("raw", unix.MemfdCreate)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Ftruncate(fd, size); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, add); err != nil {
		t.Fatal(err)
	}
	if writable {
		return fd
	}
	defer unix.Close(fd)
	return opened(t, procPath(fd), unix.O_RDONLY)
}

func opened(t *testing.T, path string, flags int) int {
	t.Helper()
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestInheritRefusesWhatIsNoSealedSegment(t *testing.T) {
	type refused struct {
		fd  func(*testing.T) int
		why string
	}
	cases := map[string]refused{
		"regular file": {func(t *testing.T) int { return opened(t, os.Args[0], unix.O_RDONLY) }, "it is no memfd"},
		"directory":    {func(t *testing.T) int { return opened(t, "/", unix.O_RDONLY) }, "it is no memfd"},
		"device":       {func(t *testing.T) int { return opened(t, "/dev/null", unix.O_RDONLY) }, "it is no memfd"},
		"path only":    {func(t *testing.T) int { return opened(t, "/", unix.O_PATH) }, "bad file descriptor"},
		"pipe": {func(t *testing.T) int {
			var p [2]int
			if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
				t.Fatal(err)
			}
			unix.Close(p[1])
			return p[0]
		}, "it is no memfd"},
		"socket": {func(t *testing.T) int {
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			return fd
		}, "it is no memfd"},
		"file on tmpfs": {func(t *testing.T) int {
			var fs unix.Statfs_t
			if err := unix.Statfs("/dev/shm", &fs); err != nil || fs.Type != unix.TMPFS_MAGIC {
				t.Skip("needs a tmpfs at /dev/shm")
			}
			return opened(t, "/dev/shm", unix.O_TMPFILE|unix.O_RDWR) // gone by itself
		}, "it has the seals 0x1 of 0xf"},
		"writable":      {func(t *testing.T) int { return raw(t, 1, seals, true) }, "it is open for writing"},
		"empty":         {func(t *testing.T) int { return raw(t, 0, seals, false) }, "it is empty"},
		"negative":      {func(*testing.T) int { return -1 }, "bad file descriptor"},
		"closed number": {func(*testing.T) int { return 1 << 19 }, "bad file descriptor"},
	}
	for add := range seals { // every choice of the four seals but all of them
		why := fmt.Sprintf("it has the seals %#x of 0xf", add)
		fd := func(t *testing.T) int { return raw(t, 1, add, false) }
		cases[fmt.Sprintf("memfd with seals %#x", add)] = refused{fd, why}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			fd := c.fd(t)
			before, statErr := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
			defer unix.Close(fd)
			_, err := Inherit(fd)
			want := fmt.Sprintf("descriptor %d is not a sealed segment: %s", fd, c.why)
			if err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("got %v, want %s", err, want)
			}
			runtime.GC() // a file that was made of it by mistake would close it
			after, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
			if after != before || (err == nil) != (statErr == nil) {
				t.Errorf("the descriptor was touched: flags %d, then %d (%v)", before, after, err)
			}
		})
	}
}

func TestInheritTakesAnySegmentThatIsFullySealed(t *testing.T) {
	for _, more := range []int{0, unix.F_SEAL_FUTURE_WRITE} {
		fd := raw(t, 4097, more, true)
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
			t.Fatal(err)
		}
		ro := opened(t, procPath(fd), unix.O_RDONLY)
		unix.Close(fd)
		s, err := Inherit(ro)
		if err != nil {
			t.Fatal(err)
		}
		if s.FD() != ro || s.Size() != 4097 || s.Name() != "raw" {
			t.Errorf("descriptor %d, size %d, name %q", s.FD(), s.Size(), s.Name())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
