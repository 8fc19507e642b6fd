// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package shm

import (
	"errors"
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

func lock(file *os.File, size int64) (*Lock, error) {
	var view window
	mapped, err := view.show(file, 0, size, unix.PROT_READ)
	if err == nil {
		err = explainLock(unix.Mlock(mapped), size)
	}
	if err != nil {
		return nil, errors.Join(err, view.close())
	}
	return &Lock{view: view}, nil
}

// explainLock says what to raise. The kernel says EPERM where nothing may be locked, and ENOMEM or EAGAIN where less
// may.
func explainLock(err error, size int64) error {
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ENOMEM) && !errors.Is(err, unix.EAGAIN) {
		return err
	}
	var limit unix.Rlimit
	if e := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); e != nil || limit.Cur == math.MaxUint64 {
		return err
	}
	return fmt.Errorf("%d KiB are needed and RLIMIT_MEMLOCK is %d KiB, for everything that is locked: raise it "+
		"(LimitMEMLOCK= in a systemd unit, ulimit -l, docker run --ulimit memlock=-1) or give CAP_IPC_LOCK: %w",
		(size+1023)>>10, limit.Cur>>10, err)
}
