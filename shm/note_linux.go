// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package shm

// Why there are no huge pages, in words for the log.

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

const shmemEnabled = "/sys/kernel/mm/transparent_hugepage/shmem_enabled"

// note is one sentence, "" if all of size bytes that can be in huge pages is.
func (p *pager) note(size int64) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	small := blockDown(size) - p.bytes
	if p.why == nil || small <= 0 {
		return ""
	}
	setting := chosen(shmemEnabled)
	switch {
	case setting == "deny":
		return "huge pages are off for shared memory on this host (shmem_enabled=deny)"
	case errors.Is(p.why, unix.ENOMEM):
		return fmt.Sprintf("the kernel found no free huge page for %d MiB: memory is short or fragmented", small>>20)
	case !errors.Is(p.why, unix.EINVAL):
	case setting == "":
		return "the kernel has no transparent huge pages for shared memory"
	case !hasCollapse():
		return fmt.Sprintf("the kernel has no MADV_COLLAPSE (Linux 6.1) and shmem_enabled is %s: "+
			"advise would give huge pages here", setting)
	case thpDisabled():
		return "the kernel gives this process no huge pages (PR_SET_THP_DISABLE)"
	}
	return fmt.Sprintf("the kernel refused huge pages for %d MiB: %v", small>>20, p.why)
}

// chosen is the word in brackets in a file of settings, "" where there is no such file.
func chosen(path string) string {
	text, _ := os.ReadFile(path)
	_, rest, _ := strings.Cut(string(text), "[")
	word, _, _ := strings.Cut(rest, "]")
	return word
}

// hasCollapse asks for no bytes to be collapsed: an advice that the kernel knows is taken then.
func hasCollapse() bool {
	_, _, errno := unix.Syscall(unix.SYS_MADVISE, 0, 0, unix.MADV_COLLAPSE)
	return errno == 0
}

func thpDisabled() bool {
	off, err := unix.PrctlRetInt(unix.PR_GET_THP_DISABLE, 0, 0, 0, 0)
	return err == nil && off == 1
}
