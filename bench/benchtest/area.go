// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

// Memory of the benches' own, beside segments.

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	smallPage = 4 << 10
	hugePage  = 2 << 20
)

// area is a mapping that begins at a huge page's boundary. The zero value is none.
type area struct {
	reserved, start unsafe.Pointer
	whole           uintptr
	data            []byte
}

// mapAligned maps size bytes of fd (−1: of anonymous memory) where they can be huge: in a reservation that is larger.
func mapAligned(fd int, size int64, prot, flags int) (area, error) {
	a := area{whole: uintptr(size) + hugePage}
	var err error
	a.reserved, err = unix.MmapPtr(-1, 0, nil, a.whole, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return area{}, err
	}
	a.start = unsafe.Add(a.reserved, -uintptr(a.reserved)&(hugePage-1))
	if fd < 0 {
		flags |= unix.MAP_ANON
	}
	if _, err = unix.MmapPtr(fd, 0, a.start, uintptr(size), prot, flags|unix.MAP_FIXED); err != nil {
		_ = a.unmap()
		return area{}, err
	}
	a.data = unsafe.Slice((*byte)(a.start), size)
	return a, nil
}

// mapPlain maps fd as anybody would: where the kernel likes it.
func mapPlain(fd int, size int64, prot, flags int) (area, error) {
	p, err := unix.MmapPtr(fd, 0, nil, uintptr(size), prot, flags)
	if err != nil {
		return area{}, err
	}
	return area{reserved: p, start: p, whole: uintptr(size), data: unsafe.Slice((*byte)(p), size)}, nil
}

func (a *area) unmap() error {
	if a.reserved == nil {
		return nil
	}
	err := unix.MunmapPtr(a.reserved, a.whole)
	*a = area{}
	return err
}

// populated is anonymous memory in huge pages that has been written to.
func populated(size int64) (area, error) {
	a, err := mapAligned(-1, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	if err != nil {
		return area{}, err
	}
	_ = unix.Madvise(a.data, unix.MADV_HUGEPAGE) // without huge pages it is small pages
	if err := unix.Madvise(a.data, unix.MADV_POPULATE_WRITE); err != nil {
		_ = a.unmap()
		return area{}, err
	}
	return a, nil
}

// warm takes memory and gives it back. A virtual machine gives what is free to its host, and whoever touches it next
// waits for the host: that must not be counted against the method that happens to be next.
func warm(size int64) error {
	a, err := populated(size)
	if err != nil {
		return err
	}
	return a.unmap()
}
