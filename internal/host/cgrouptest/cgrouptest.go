// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Package cgrouptest makes memory cgroups for tests that need to see what the kernel really charges. It is for tests
// only, and skips a test wherever this user or this container may not make cgroups. It never touches a cgroup it did
// not make.
package cgrouptest

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/host"
)

// New makes a memory cgroup with a limit in bytes and returns the directory of its files. It is removed when the test
// ends; by then every process must have left it.
func New(t testing.TB, limit int64) string {
	t.Helper()
	own, err := host.Host{}.Memory()
	if err != nil {
		t.Skipf("needs a memory cgroup: %v", err)
	}
	parent, file := own.Dir, "memory.limit_in_bytes"
	if _, err := os.Stat(filepath.Join(parent, file)); err != nil {
		// Version 2: a cgroup that holds processes cannot hand controllers down, so ours gets a sibling.
		parent, file = filepath.Dir(own.Dir), "memory.max"
	}
	dir := filepath.Join(parent, "preforkd-test-"+strconv.FormatUint(rand.Uint64(), 36))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skipf("needs to make a memory cgroup: %v", err)
	}
	t.Cleanup(func() { remove(t, dir) })
	if err := write(filepath.Join(dir, file), strconv.FormatInt(limit, 10)); err != nil {
		t.Skipf("needs a memory cgroup with a limit: %v", err)
	}
	return dir
}

// Enter moves the whole calling process into the cgroup.
func Enter(dir string) error { return write(filepath.Join(dir, "cgroup.procs"), "0") }

// write does not create: what is not there in a cgroup's directory is a file of a controller that it does not have.
func write(file, text string) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// remove waits for processes that have been reaped but not yet left the cgroup: until then it is EBUSY.
func remove(t testing.TB, dir string) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); ; <-tick.C {
		err := os.Remove(dir)
		if err == nil {
			return
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			t.Errorf("cannot remove the test's cgroup: %v", err)
			return
		}
	}
}
