// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package supervisor

// Was it the OOM killer? The kernel counts its kills for each memory cgroup before the victims can be reaped.

import (
	"time"

	"github.com/preforkd/preforkd/internal/host"
)

// oomCount is the kernel's count, and how much of it is explained. The loop owns it.
type oomCount struct {
	explained int64
	since     time.Time // when the first that is not was seen; zero without one
}

// oomLapse is how long a kill is held for a worker whose end is still to be told; then it was one of its children.
const oomLapse = 3 * time.Second

func (c *oomCount) begin() { c.explained, _ = (host.Host{}).OOMKills() }

// look lets kills lapse that were nobody's we know. It is called at each tick.
func (c *oomCount) look() {
	kills, err := (host.Host{}).OOMKills()
	switch {
	case err != nil || kills <= c.explained:
		c.since = time.Time{}
	case c.since.IsZero():
		c.since = time.Now()
	case time.Since(c.since) > oomLapse:
		c.explained, c.since = kills, time.Time{}
	}
}

// claim tells whether a worker that ended by KILL is one that the OOM killer took.
func (c *oomCount) claim() bool {
	kills, err := (host.Host{}).OOMKills()
	if err != nil || kills <= c.explained {
		return false
	}
	c.explained++
	return true
}
