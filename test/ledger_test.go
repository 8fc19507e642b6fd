// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// What a fleet holds of the machine: shared memory by the kernel's account, and descriptors; and whether it gives all back.

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/host"
	"github.com/preforkd/preforkd/internal/host/cgrouptest"
	"github.com/preforkd/preforkd/supervisor"
)

// ledger reads how much shared memory a fleet holds: that of a cgroup of its own, or else the growth of the machine's, which
// others use too.
type ledger struct {
	t      *testing.T
	dir    string
	before int64
}

// newLedger returns what a fleet must be started through, too.
func newLedger(t *testing.T) (l *ledger, through []string) {
	t.Helper()
	if own, err := (host.Host{}).Memory(); err == nil && os.Geteuid() == 0 {
		if unix.Access(own.Dir, unix.W_OK) == nil {
			l = &ledger{t: t, dir: cgrouptest.New(t, 1<<40)}
			return l, enter(l.dir)
		}
	}
	return &ledger{t: t, before: kilobytes(t, "/proc/meminfo", "Shmem")}, nil
}

func (l *ledger) shared() int64 {
	l.t.Helper()
	if l.dir == "" {
		return kilobytes(l.t, "/proc/meminfo", "Shmem") - l.before
	}
	text, err := os.ReadFile(filepath.Join(l.dir, "memory.stat"))
	if err != nil {
		l.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if n, ok := strings.CutPrefix(line, "shmem "); ok {
			return number(l.t, n)
		}
	}
	l.t.Fatalf("%s/memory.stat has no shmem", l.dir)
	return 0
}

// holds waits until the shared memory is that of these segments, give or take what the kernel counts late.
func (l *ledger) holds(sizes ...int64) {
	l.t.Helper()
	var want, got int64
	for _, size := range sizes {
		want += size
	}
	right := func() bool {
		if got = l.shared(); l.dir == "" { // with what other programs take and give back
			return got <= want+32*mib
		}
		return got >= want-mib && got <= want+mib
	}
	defer func() {
		if !right() {
			l.t.Logf("%d bytes of shared memory are held, want %d", got, want)
		}
	}()
	within(l.t, 2*patience, "the shared memory is that of the segments that there should be", right)
}

// peaks follows what a fleet holds until the returned function is called: by its own stats, and by the kernel's.
func (f *fleet) peaks(l *ledger) (stop func() (data, shared int64)) {
	var most, held int64
	end := f.every(func(s *supervisor.Snapshot) {
		most, held = max(most, s.Memory.Data), max(held, l.shared())
	})
	return func() (int64, int64) { end(); return most, held }
}

// every looks at the stats again and again until the returned function is called.
func (f *fleet) every(look func(*supervisor.Snapshot)) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			if snap, err := f.snapshot(); err == nil {
				look(snap)
			}
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	})
	return sync.OnceFunc(func() { close(done); wg.Wait() })
}

// keeps waits until preforkd has no more descriptors than it had.
func (f *fleet) keeps(before []string) {
	f.t.Helper()
	var now []string
	defer func() {
		if len(now) > len(before) {
			f.t.Logf("preforkd had these descriptors:\n%v\nand has these:\n%v", before, now)
		}
	}()
	within(f.t, patience, "no more descriptors than before", func() bool {
		now = links(f.t, f.pid)
		return len(now) <= len(before)
	})
}
