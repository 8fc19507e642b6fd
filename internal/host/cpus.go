// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package host

// How many CPUs this process may use.

import (
	"os"
	"path"
	"runtime"
	"strings"
)

// CPUs returns the CPUs that this process may use: those of its affinity, and no more than the CPU quotas of its cgroup
// and the ancestors allow, rounded up. It is at least 1.
//
// runtime.GOMAXPROCS(0) is nearly that since Go 1.25, but the variable GOMAXPROCS, which people set for their workers,
// bends it, and it never goes below 2 for a quota.
func CPUs() int { return Host{}.cpus(runtime.NumCPU()) }

// cpus is CPUs for a given number of CPUs in the affinity mask. A quota that cannot be read is none.
func (h Host) cpus(affinity int) int {
	chain, err := h.groups("cpu")
	if err != nil {
		return affinity
	}
	n := int64(affinity)
	for _, g := range chain {
		if quota, period := g.quota(); quota > 0 && period > 0 && quota != None {
			n = min(n, (quota-1)/period+1)
		}
	}
	return int(n)
}

// quota returns the microseconds of CPU that the group may use in each period; no quota is 0, −1 or None.
func (g group) quota() (quota, period int64) {
	if g.v1 {
		quota, _ = g.number("cpu.cfs_quota_us")
		period, _ = g.number("cpu.cfs_period_us")
		return quota, period
	}
	file := path.Join(g.dir, "cpu.max")
	text, _ := os.ReadFile(file)
	first, second, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	quota, _ = parseLimit(file, first)
	period, _ = parseLimit(file, second)
	return quota, period
}
