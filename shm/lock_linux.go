// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package shm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// lockStep is how much one mlock brings in: it cannot be interrupted, and a disk may be slow.
const lockStep = 64 << 20

func lock(ctx context.Context, file *os.File, size int64) (*Lock, error) {
	var view window
	mapped, err := view.show(file, 0, size, unix.PROT_READ)
	for rest := mapped; err == nil && len(rest) > 0; {
		step := rest[:min(lockStep, len(rest))]
		if err = context.Cause(ctx); err == nil {
			err = explainLock(unix.Mlock(step), size, int64(len(step)))
		}
		rest = rest[len(step):]
	}
	if err != nil {
		return nil, errors.Join(err, view.close())
	}
	return &Lock{view: view}, nil
}

// explainLock says what to do. The kernel says EPERM where nothing may be locked and ENOMEM where less may; ENOMEM also
// where the file has become shorter, and EAGAIN where memory is short.
func explainLock(err error, size, step int64) error {
	if errors.Is(err, unix.EAGAIN) {
		return fmt.Errorf("memory is short: stop what else uses it, or lock less: %w", err)
	}
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ENOMEM) {
		return err
	}
	locked := lockedNow()
	var limit unix.Rlimit
	if e := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); e != nil || uint64(locked+step) <= limit.Cur {
		return fmt.Errorf("the kernel could not bring it in: memory is short, or the file has become shorter: %w", err)
	}
	now := ""
	if locked > 0 {
		now = fmt.Sprintf(" (%d KiB by now)", locked>>10)
	}
	return fmt.Errorf("%d KiB are needed and RLIMIT_MEMLOCK is %d KiB, for everything that is locked%s: raise it "+
		"(LimitMEMLOCK= in a systemd unit, ulimit -l, docker run --ulimit memlock=-1) or give CAP_IPC_LOCK: %w",
		(size+1023)>>10, limit.Cur>>10, now, err)
}

// lockedNow is how much memory this process has locked, 0 where that cannot be known.
func lockedNow() int64 {
	text, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(text), "\nVmLck:")
	line, _, _ := strings.Cut(rest, "kB")
	n, _ := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	return n << 10
}
