// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package shm

// Mappings at addresses that are a multiple of 2 MiB: only there can memory be mapped by huge pages, and with
// shmem_enabled=never the kernel does not align them by itself.

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// block is the size of a huge page: 2 MiB on x86-64, and on arm64 with pages of 4 KiB. Elsewhere nothing becomes huge.
const block = 2 << 20

func blockDown(n int64) int64 { return n &^ (block - 1) }
func blockUp(n int64) int64   { return blockDown(n + block - 1) }

// window is a piece of address space, aligned to huge pages, through which parts of files are seen one after another.
// The zero value is none.
type window struct {
	base   unsafe.Pointer // what was reserved
	length uintptr
	start  unsafe.Pointer // the first aligned address in it
}

// reserve takes address space for size bytes, and no memory.
func (w *window) reserve(size int64) error {
	length := uintptr(size) + block
	base, err := unix.MmapPtr(-1, 0, nil, length, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return err
	}
	*w = window{base: base, length: length, start: unsafe.Add(base, -uintptr(base)&(block-1))}
	return nil
}

// show maps size bytes of file from offset on, in place of what was seen before. Offset is a multiple of the page
// size; for huge pages it is one of 2 MiB. The first call reserves the address space, for windowSize or more.
func (w *window) show(file *os.File, offset, size int64, prot int) ([]byte, error) {
	if w.base == nil {
		if err := w.reserve(max(size, windowSize)); err != nil {
			return nil, err
		}
	}
	err := control(file, func(fd int) error {
		_, err := unix.MmapPtr(fd, offset, w.start, uintptr(size), prot, unix.MAP_SHARED|unix.MAP_FIXED)
		return err
	})
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(w.start), size), nil
}

// close unmaps all and gives the address space back. Calling it again does nothing.
func (w *window) close() error {
	if w.base == nil {
		return nil
	}
	err := unix.MunmapPtr(w.base, w.length)
	*w = window{}
	return err
}
