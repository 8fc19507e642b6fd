// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

// Sockets that systemd, or another parent with its convention, started this process with.

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/preforkd/preforkd/supervisor"
)

// inheritedSockets reads sd_listen_fds(3)'s variables. They are read here and not by go-systemd's activation package, whose
// files close their descriptors when they are collected; a duplicate would have another number than the parent knows.
func inheritedSockets() ([]supervisor.Inherited, error) {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, nil // meant for another process
	}
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil || n < 0 || n > 1<<16 {
		return nil, fmt.Errorf("cannot take over sockets: LISTEN_FDS is %q, not a number of descriptors", os.Getenv("LISTEN_FDS"))
	}
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	list := make([]supervisor.Inherited, n)
	for i := range list {
		list[i].FD = 3 + i
		if i < len(names) {
			list[i].Name = names[i]
		}
	}
	return list, nil
}
