// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package host_test

// This machine: whatever it is, what we say of it must hold together.

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/host"
	"github.com/preforkd/preforkd/internal/host/cgrouptest"
)

func TestThisMachineCanBeRead(t *testing.T) {
	info, err := host.Host{}.MemInfo()
	if err != nil {
		t.Fatal(err)
	}
	if info.Available <= 0 || info.Available > info.Total || info.Shmem < 0 {
		t.Errorf("%+v", info)
	}
	free, err := host.Host{}.Free()
	if err != nil {
		t.Fatal(err)
	}
	if free.Free < 0 || free.Free > info.Total || free.By == "" {
		t.Errorf("%+v", free)
	}
	if m, err := (host.Host{}).Memory(); err == nil {
		if m.Current < m.Shmem || m.Limit <= 0 {
			t.Errorf("%+v", m)
		}
	} else if !errors.Is(err, host.ErrNoCgroup) {
		t.Error(err)
	}
	if n := host.CPUs(); n < 1 || n > runtime.NumCPU() {
		t.Errorf("%d CPUs of %d", n, runtime.NumCPU())
	}
}

func TestCPUsDoNotListenToGOMAXPROCS(t *testing.T) {
	before := host.CPUs()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(before + 3))
	if after := host.CPUs(); after != before {
		t.Errorf("%d CPUs, then %d", before, after)
	}
}

func TestFreeFollowsARealLimit(t *testing.T) {
	// The slack: the kernel counts in batches, and the helper needs some memory itself.
	const limit, charge, slack = 256 << 20, 64 << 20, 24 << 20
	dir := cgrouptest.New(t, limit)
	out, err := helper("charge", "HOST_TEST_CGROUP="+dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	var free, shmem [3]int64
	var limits [3]int64
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 3 {
		t.Fatalf("the helper said %q", lines)
	}
	for i, line := range lines {
		figures, by, _ := strings.Cut(line, " by ")
		if _, err := fmt.Sscan(figures, &free[i], &shmem[i], &limits[i]); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(by, "the limit of cgroup /") || !strings.HasSuffix(by, filepath.Base(dir)) {
			t.Errorf("bound by %q, want the limit of %s", by, dir)
		}
		if limits[i] != limit {
			t.Errorf("limit %d, want %d", limits[i], limit)
		}
	}
	near := func(what string, got, want int64) {
		if got < want-slack || got > want+slack {
			t.Errorf("%s is %d, want about %d\n%s", what, got, want, out)
		}
	}
	near("free before", free[0], limit)
	near("what a memfd took", free[0]-free[1], charge)
	near("free after it was closed", free[2], limit)
	near("shared memory", shmem[1]-shmem[0], charge)
	near("shared memory left", shmem[2]-shmem[0], 0)
}

// helpCharge prints what is free in its cgroup before, while and after it holds a memfd.
func helpCharge() error {
	if err := cgrouptest.Enter(os.Getenv("HOST_TEST_CGROUP")); err != nil {
		return err
	}
	var failed error
	say := func() {
		free, err := host.Host{}.Free()
		m, err2 := host.Host{}.Memory()
		fmt.Println(free.Free, m.Shmem, m.Limit, "by", free.By)
		failed = errors.Join(failed, err, err2)
	}
	say()
	fd, err := unix.MemfdCreate("charge", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "memfd:charge")
	// In pieces: this process's own buffer is charged too, threefold under the race detector.
	piece := make([]byte, 1<<20)
	for range 64 {
		_, err := f.Write(piece)
		failed = errors.Join(failed, err)
	}
	say()
	failed = errors.Join(failed, f.Close())
	say()
	return failed
}
