// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package shm

// Locking in memory, and comparing.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLockKeepsASegmentInMemory(t *testing.T) {
	noLeak(t, func(t *testing.T) {
		const size = 5<<20 + 1
		s := sealed(t, noise(size))
		before := statusKiB(t, "VmLck")
		l, err := s.Lock(t.Context())
		if errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.EPERM) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		if got, want := statusKiB(t, "VmLck")-before, pages(size)>>10; got != want {
			t.Errorf("%d KiB are locked, want %d", got, want)
		}
		for range 2 {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
		if got := statusKiB(t, "VmLck"); got != before {
			t.Errorf("%d KiB are still locked", got-before)
		}
	})
}

func TestLockFileBringsAFileIntoMemory(t *testing.T) {
	f := onDisk(t, noise(3<<20+1))
	l, err := LockFile(t.Context(), f)
	if errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.EPERM) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	// The kernel does not drop what is locked.
	if err := control(f, func(fd int) error { return unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED) }); err != nil {
		t.Fatal(err)
	}
	if n := cachedBytes(t, f); n < 3<<20 {
		t.Errorf("%d bytes are cached", n)
	}
}

func TestLockFileRefusesWhatItCannotLock(t *testing.T) {
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if _, err := LockFile(t.Context(), dir); err == nil || !strings.HasSuffix(err.Error(), "in memory: it is no regular file") {
		t.Errorf("directory: %v", err)
	}
	if _, err := LockFile(t.Context(), file(t, nil)); err == nil || !strings.HasSuffix(err.Error(), "in memory: it is empty") {
		t.Errorf("empty file: %v", err)
	}
}

func TestLockSaysWhichLimitToRaise(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can start a child with another uid")
	}
	out := run(t, child(t, "lock", nobody))
	want := `cannot lock segment "test" in memory: 5121 KiB are needed and RLIMIT_MEMLOCK is 64 KiB, for everything ` +
		`that is locked: raise it (LimitMEMLOCK= in a systemd unit, ulimit -l, docker run --ulimit memlock=-1) ` +
		`or give CAP_IPC_LOCK: `
	if !strings.HasPrefix(out, want) {
		t.Errorf("got  %s\nwant %s", out, want)
	}
}

// helpLock prints the error of Lock where it is not allowed, and fails if something stays mapped.
func helpLock() error {
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: 64 << 10, Max: 64 << 10}); err != nil {
		return err
	}
	w, err := Create("test", Options{})
	if err != nil {
		return err
	}
	if _, err := w.Write(make([]byte, 5<<20+1)); err != nil {
		return err
	}
	s, err := w.Seal()
	if err != nil {
		return err
	}
	_, err = s.Lock(context.Background())
	fmt.Print(err)
	return noMapping()
}

func TestLockingEndsWithItsContext(t *testing.T) {
	stop := errors.New("stop")
	s := sealed(t, make([]byte, lockStep+1))
	before := statusKiB(t, "VmLck")
	ctx := &brief{Context: t.Context(), looks: 1, cause: stop}
	if _, err := s.Lock(ctx); !errors.Is(err, stop) {
		if errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.EPERM) {
			t.Skip(err)
		}
		t.Error(err)
	}
	if got := statusKiB(t, "VmLck"); got != before {
		t.Errorf("%d KiB are still locked", got-before)
	}
	ctx = &brief{Context: t.Context(), cause: stop}
	if _, err := LockFile(ctx, onDisk(t, noise(1))); !errors.Is(err, stop) {
		t.Error(err)
	}
}

// brief is a context that is done after so many looks at it.
type brief struct {
	context.Context
	looks int
	cause error
}

func (b *brief) Err() error {
	if b.looks--; b.looks >= 0 {
		return nil
	}
	return b.cause
}

// The limit is not to blame where all of it would fit.
func TestLockBlamesTheLimitOnlyWhereItIsTooLow(t *testing.T) {
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &old); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Setrlimit(unix.RLIMIT_MEMLOCK, &old) })
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: min(old.Max, 1<<20), Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		err  error
		size int64
		want string
	}{
		{unix.ENOMEM, 2 << 20, "2048 KiB are needed and RLIMIT_MEMLOCK is 1024 KiB"},
		{unix.ENOMEM, 4096, "memory is short, or the file has become shorter"},
		{unix.EAGAIN, 2 << 20, "memory is short: stop what else uses it"},
	} {
		if err := explainLock(c.err, c.size, c.size); !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v for %d bytes: %v", c.err, c.size, err)
		}
	}
}

// noMapping fails while this process maps a memfd.
func noMapping() error {
	maps, err := os.ReadFile("/proc/self/maps")
	if err == nil && strings.Contains(string(maps), "memfd:") {
		err = fmt.Errorf("a memfd is mapped:\n%s", maps)
	}
	return err
}

func TestEqualFindsADifferenceAnywhere(t *testing.T) {
	const size = 17<<20 + 3
	data := noise(size)
	a := sealed(t, data)
	equal := func(b *Segment) bool {
		same, err := Equal(t.Context(), a, b)
		if err != nil {
			t.Error(err)
		}
		return same
	}
	if !equal(a) || !equal(sealed(t, data)) {
		t.Error("the same bytes differ")
	}
	for _, at := range []int{0, 8<<20 - 1, 8 << 20, size - 1} {
		data[at]++
		if equal(sealed(t, data)) {
			t.Errorf("a difference at %d was not seen", at)
		}
		data[at]--
	}
	if equal(sealed(t, data[:size-1])) {
		t.Error("a shorter one is equal")
	}
	if err := noMapping(); err != nil {
		t.Error(err)
	}
}

func TestEqualReportsWhyItDoesNotKnow(t *testing.T) {
	a, b := sealed(t, []byte("same")), sealed(t, []byte("same"))
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	if same, err := Equal(ctx, a, b); same || !errors.Is(err, stop) {
		t.Errorf("cancelled: %v, %v", same, err)
	}
	b.Close()
	if same, err := Equal(t.Context(), a, b); same || err == nil {
		t.Errorf("closed: %v, %v", same, err)
	}
}
