// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package host

// Where the kernel's files are: the real ones, or a fixture's.

import (
	"os"
	"strings"
)

// Host reads the files of one machine. The zero value is the machine that this process runs on.
type Host struct {
	Proc string // mount point of procfs; "" is /proc
	Sys  string // mount point of sysfs; "" is /sys
}

func (h Host) proc(path string) ([]byte, error) {
	root := h.Proc
	if root == "" {
		root = "/proc"
	}
	return os.ReadFile(root + path)
}

// place turns a mount point that mountinfo names into the path at which it is read.
func (h Host) place(mount string) string {
	if rest, ok := strings.CutPrefix(mount, "/sys/"); ok && h.Sys != "" {
		return h.Sys + "/" + rest
	}
	return mount
}
