// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package host

// The memory of the whole machine.

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// MemInfo is what /proc/meminfo says, in bytes.
type MemInfo struct {
	Total     int64 // MemTotal
	Available int64 // MemAvailable (Linux 3.14): what can be had without swapping; held segments are not in it
	Shmem     int64 // all shared memory of the machine, memfds and tmpfs
}

// MemInfo reads /proc/meminfo. A missing field is an error.
func (h Host) MemInfo() (MemInfo, error) {
	text, err := h.proc("/meminfo")
	if err != nil {
		return MemInfo{}, fmt.Errorf("cannot tell the machine's memory: %w", err)
	}
	var m MemInfo
	want := map[string]*int64{"MemTotal": &m.Total, "MemAvailable": &m.Available, "Shmem": &m.Shmem}
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		field := want[name]
		if field == nil {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 53)
		if err != nil {
			return MemInfo{}, fmt.Errorf("cannot tell the machine's memory: /proc/meminfo has %q",
				strings.TrimSpace(line))
		}
		*field = kib << 10
		delete(want, name)
	}
	if len(want) > 0 {
		missing := strings.Join(slices.Sorted(maps.Keys(want)), ", ")
		return MemInfo{}, fmt.Errorf("cannot tell the machine's memory: /proc/meminfo has no %s", missing)
	}
	return m, nil
}
