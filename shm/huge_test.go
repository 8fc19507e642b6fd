// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package shm

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// inPieces makes a segment of size random bytes, written in pieces of piece bytes, and returns both.
func inPieces(t *testing.T, size, piece int) (*Segment, []byte, *collapser) {
	t.Helper()
	content := make([]byte, size)
	generator := rand.NewChaCha8([32]byte{byte(size)})
	generator.Read(content)
	w, err := Create("huge")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	for rest := content; len(rest) > 0; rest = rest[min(piece, len(rest)):] {
		if _, err := w.Write(rest[:min(piece, len(rest))]); err != nil {
			t.Fatal(err)
		}
	}
	s, err := w.Seal()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, content, &w.huge
}

func TestContentIsTheSameInHugePages(t *testing.T) {
	for _, size := range []int{hugePage - 1, hugePage, hugePage + 1, 3 * hugePage, 3*hugePage + 5000, 5*hugePage - 1} {
		for _, piece := range []int{100_000, size} {
			s, content, _ := inPieces(t, size, piece)
			file, err := s.Open()
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(file)
			file.Close()
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("%d bytes written by %d: they differ, or %v", size, piece, err)
			}
			allocated, err := s.Allocated()
			if want := int64(size+4095) &^ 4095; err != nil || allocated != want {
				t.Errorf("%d bytes take %d, want %d: %v", size, allocated, want, err)
			}
		}
	}
}

func TestWholeHugePagesAreHuge(t *testing.T) {
	const size = 5*hugePage + 12345
	s, _, c := inPieces(t, size, 1<<20)
	if c.off {
		t.Skip("this kernel does not collapse shared memory (MADV_COLLAPSE, Linux 6.1; shmem_enabled may be deny)")
	}
	const length = 5 * hugePage
	base, err := unix.MmapPtr(-1, 0, nil, length+hugePage, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.MunmapPtr(base, length+hugePage)
	aligned := unsafe.Add(base, -uintptr(base)&(hugePage-1))
	if _, err := unix.MmapPtr(s.FD(), 0, aligned, length, unix.PROT_READ, unix.MAP_SHARED|unix.MAP_FIXED); err != nil {
		t.Fatal(err)
	}
	sum := 0
	for i := 0; i < length; i += 4096 {
		sum += int(*(*byte)(unsafe.Add(aligned, i)))
	}
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	mapped := regexp.MustCompile(`(?s)memfd:huge .*?ShmemPmdMapped: +(\d+) kB`).FindSubmatch(text)
	if mapped == nil {
		t.Fatalf("the mapping is not in smaps (sum %d)", sum)
	}
	if kib, _ := strconv.Atoi(string(mapped[1])); kib<<10 != length {
		t.Errorf("%d KiB are mapped by huge pages, want %d", kib, length>>10)
	}
}
