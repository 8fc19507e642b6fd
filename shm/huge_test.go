// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package shm

// Huge pages: that they are there, that Huge says so, and that the content does not depend on them.

import (
	"os"
	"regexp"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// hugeMapped maps size bytes of a memfd as a worker should and returns how many of them are mapped by huge pages.
func hugeMapped(t *testing.T, file *os.File, size int64) int64 {
	t.Helper()
	if blockDown(size) == 0 {
		return 0
	}
	var view window
	mapped, err := view.show(file, 0, blockDown(size), unix.PROT_READ)
	if err != nil {
		t.Fatal(err)
	}
	defer view.close()
	sum := 0
	for i := 0; i < len(mapped); i += 4096 {
		sum += int(mapped[i])
	}
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?s)memfd:\w+ .*?ShmemPmdMapped: +(\d+) kB`).FindSubmatch(text)
	if found == nil {
		t.Fatalf("the mapping is not in smaps (sum %d)", sum)
	}
	kib, _ := strconv.ParseInt(string(found[1]), 10, 64)
	return kib << 10
}

// checkHuge compares what Huge says of a segment with what the kernel maps, and its memory with its size.
func checkHuge(t *testing.T, s *Segment) {
	t.Helper()
	if got := hugeMapped(t, s.file, s.Size()); got != s.Huge() {
		t.Errorf("%d bytes of %d are mapped by huge pages, Huge says %d", got, s.Size(), s.Huge())
	}
	if n, err := s.Allocated(); n != pages(s.Size()) || err != nil {
		t.Errorf("%d bytes take %d, want %d: %v", s.Size(), n, pages(s.Size()), err)
	}
}

// needHuge skips where the kernel gives no huge pages for shared memory at all.
func needHuge(t *testing.T) {
	t.Helper()
	w := filled(t, make([]byte, block))
	if w.Huge() == 0 {
		t.Skip("this kernel gives no huge pages here: " + w.Note())
	}
}
