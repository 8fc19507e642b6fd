// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package host

// Has the OOM killer been here? The kernel counts its victims in the cgroup that they were charged to, whichever limit it
// was that ran out: their own, an ancestor's or the machine's.

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
)

// OOMKills returns how many processes of the memory cgroup of this process the OOM killer has killed since that was made:
// ErrNoCgroup where there is none. Version 2 counts those of descendants too (memory.events), version 1 does not
// (memory.oom_control, Linux 4.13; before, it is an error). The kernel counts before it sends the KILL, so the count has
// risen when the death is seen. It reads three small files: 0.1 ms.
func (h Host) OOMKills() (int64, error) {
	chain, err := h.groups("memory")
	if err != nil {
		return 0, err
	}
	for _, g := range chain {
		file := "memory.events"
		if g.v1 {
			file = "memory.oom_control"
		}
		stat, err := g.stat(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // not a memory cgroup: its processes are charged to the next one above
		}
		if err != nil {
			return 0, fmt.Errorf("cannot tell the OOM kills of cgroup %s: %w", g.name, err)
		}
		kills, ok := stat["oom_kill"]
		if !ok {
			return 0, fmt.Errorf("cannot tell the OOM kills of cgroup %s: %s has no oom_kill", g.name, path.Join(g.dir, file))
		}
		return kills, nil
	}
	return 0, ErrNoCgroup
}
