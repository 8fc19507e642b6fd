// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package host

// How much memory this process may still take. Past a cgroup's limit the kernel kills, it returns no error, so whoever
// loads data must ask first.

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"strconv"
	"strings"
)

// None is a limit that is not set.
const None = math.MaxInt64

// ErrNoCgroup means that no memory cgroup of this process can be seen.
var ErrNoCgroup = errors.New("no memory cgroup of this process can be seen")

// Memory is the account of one memory cgroup, descendants included, in bytes.
type Memory struct {
	Cgroup  string // its path, as in /proc/self/cgroup
	Dir     string // where its files are
	Current int64  // everything charged to it
	Shmem   int64  // of that, shared memory: memfds and tmpfs
	File    int64  // of that, page cache that the kernel can drop: active_file + inactive_file
	Limit   int64  // its own limit (an ancestor's may be lower), or None
}

// Headroom is the memory that can still be taken.
type Headroom struct {
	Free int64  // bytes, never negative
	By   string // what sets the bound: "MemAvailable" or "the limit of cgroup /x"
}

// Memory returns the account of the cgroup that this process is charged to: ErrNoCgroup where there is none.
func (h Host) Memory() (Memory, error) {
	chain, err := h.memories()
	if err != nil {
		return Memory{}, err
	}
	if len(chain) == 0 {
		return Memory{}, ErrNoCgroup
	}
	return chain[0], nil
}

// Free returns the smallest of the machine's MemAvailable and, for the cgroup of this process and each of its
// ancestors, limit − current + the page cache in it.
func (h Host) Free() (Headroom, error) {
	info, err := h.MemInfo()
	if err != nil {
		return Headroom{}, err
	}
	out := Headroom{Free: info.Available, By: "MemAvailable"}
	chain, err := h.memories()
	if err != nil {
		return Headroom{}, err
	}
	for _, m := range chain {
		if m.Limit == None {
			continue
		}
		if free := max(m.Limit-m.Current+m.File, 0); free < out.Free {
			out = Headroom{Free: free, By: "the limit of cgroup " + m.Cgroup}
		}
	}
	return out, nil
}

// memories reads our memory cgroup and its ancestors. One without the controller's files is passed over: version 2's
// root, and a cgroup for which the controller was not enabled, whose memory is charged to the next ancestor.
func (h Host) memories() ([]Memory, error) {
	chain, err := h.groups("memory")
	if err != nil {
		return nil, err
	}
	var out []Memory
	for _, g := range chain {
		m, err := g.memory()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read the memory of cgroup %s: %w", g.name, err)
		}
		out = append(out, m)
	}
	return out, nil
}

func (g group) memory() (Memory, error) {
	limit, current, prefix := "memory.max", "memory.current", ""
	if g.v1 {
		limit, current, prefix = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_" // total_: with descendants
	}
	m := Memory{Cgroup: g.name, Dir: g.dir}
	var err error
	if m.Limit, err = g.number(limit); err != nil {
		return Memory{}, err
	}
	if m.Limit >= 1<<62 { // version 1 says "none" with the largest number of whole pages
		m.Limit = None
	}
	if m.Current, err = g.number(current); err != nil {
		return Memory{}, err
	}
	stat, err := g.stat("memory.stat")
	if err != nil {
		return Memory{}, err
	}
	var missing error
	get := func(key string) int64 {
		n, ok := stat[prefix+key]
		if !ok {
			missing = fmt.Errorf("memory.stat has no %s", prefix+key)
		}
		return n
	}
	m.Shmem, m.File = get("shmem"), get("inactive_file")+get("active_file")
	return m, missing
}

// stat reads a file of lines "KEY NUMBER".
func (g group) stat(file string) (map[string]int64, error) {
	text, err := os.ReadFile(path.Join(g.dir, file))
	if err != nil {
		return nil, err
	}
	out := map[string]int64{}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			out[key] = n
		}
	}
	return out, nil
}
