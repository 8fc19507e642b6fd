// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/supervisor"
)

// inheritedSockets takes over the sockets of systemd's socket activation, and takes its variables out of our environment.
func inheritedSockets() ([]supervisor.Inherited, error) {
	var list []supervisor.Inherited
	for _, file := range activation.Files(true) {
		// A duplicate, since the *os.File closes its own descriptor when it is collected.
		fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return nil, fmt.Errorf("cannot take over the socket %s: %v", file.Name(), err)
		}
		list = append(list, supervisor.Inherited{Name: file.Name(), FD: fd})
		file.Close()
	}
	return list, nil
}
