// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package host

// Does this machine give huge pages to shared memory?

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

const (
	thpDir      = "/kernel/mm/transparent_hugepage/"
	shmemFile   = thpDir + "shmem_enabled"
	shmem2MFile = thpDir + "hugepages-2048kB/shmem_enabled" // Linux 6.12
)

// SharedHuge is how this machine treats shared memory that could be in huge pages.
type SharedHuge struct {
	Setting string // of shmem_enabled: never, advise, within_size, always, force or deny; "" where the kernel has none
	Plain   bool   // a worker's ordinary mmap of a segment in huge pages is mapped huge
	Denied  bool   // no segment can be made of huge pages at all
	Advice  string // the host setting that would change that: a command for root; "" where none is needed or none would help
}

// SharedHuge reads the settings of transparent huge pages. Their file "enabled" has no say in shared memory.
//
// Measured on Linux 6.18: MADV_COLLAPSE makes huge pages under each setting but deny, and but never for pages of 2 MiB
// (hugepages-2048kB); a plain mmap of them is aligned, and so mapped huge, under advise and more, whatever stands there.
func (h Host) SharedHuge() (SharedHuge, error) {
	setting, err := h.choice(shmemFile)
	if errors.Is(err, fs.ErrNotExist) {
		return SharedHuge{Denied: true}, nil // a kernel without transparent huge pages, or without /sys
	}
	if err != nil {
		return SharedHuge{}, fmt.Errorf("cannot tell the setting of huge pages: %w", err)
	}
	size, err := h.choice(shmem2MFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return SharedHuge{}, fmt.Errorf("cannot tell the setting of huge pages: %w", err)
	}
	s := SharedHuge{Setting: setting, Denied: setting == "deny" || size == "never"}
	aligned := setting != "never" && setting != "deny"
	s.Plain = aligned && !s.Denied
	var commands []string
	if !aligned {
		commands = append(commands, "echo advise > /sys"+shmemFile)
	}
	if size == "never" {
		commands = append(commands, "echo inherit > /sys"+shmem2MFile)
	}
	s.Advice = strings.Join(commands, "; ")
	return s, nil
}

// choice is the word in brackets of a file that lists all choices.
func (h Host) choice(file string) (string, error) {
	root := h.Sys
	if root == "" {
		root = "/sys"
	}
	text, err := os.ReadFile(root + file)
	if err != nil {
		return "", err
	}
	_, rest, opened := strings.Cut(string(text), "[")
	word, _, closed := strings.Cut(rest, "]")
	if !opened || !closed {
		return "", fmt.Errorf("%s has no choice in brackets: %q", root+file, strings.TrimSpace(string(text)))
	}
	return word, nil
}
