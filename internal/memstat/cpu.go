// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

import (
	"time"

	"golang.org/x/sys/unix"
)

// threadCPU is the processor time of this OS thread. The sampler's goroutine is locked to one, so differences are what
// its work cost.
func threadCPU() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
