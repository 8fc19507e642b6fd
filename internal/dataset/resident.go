// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

// This file measures how much of a direct source is in the page cache.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// residentAge is how old the answer may be, at least; residentShare is how many times as old as it takes to find it.
	residentAge   = 10 * time.Second
	residentShare = 100
)

// resident is the part that is in the page cache. It is measured again behind the back of who asks, when it has grown old: a
// directory may take a while.
func (d *direct) resident() (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.measuring && time.Since(d.measuredAt) > residentAge+residentShare*d.took {
		d.measuring = true
		go d.measure()
	}
	return d.cached, d.failed
}

func (d *direct) measure() {
	began := time.Now()
	sum := int64(0)
	var err error
	for _, p := range d.files {
		n, failed := p.inCache()
		if sum += n; failed != nil && !errors.Is(failed, fs.ErrNotExist) { // nobody opens anew what is gone
			err = failed
			break
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.measuring, d.measuredAt, d.cached, d.failed = false, time.Now(), sum, err
	d.took = d.measuredAt.Sub(began)
}

func (p part) inCache() (int64, error) {
	f, err := openFile(p.path)
	if err != nil {
		return 0, err
	}
	defer f.Close() //nolint:errcheck // only looked at
	return inCache(f)
}

// inCache returns the bytes of a file that are in the page cache, in whole pages: by cachestat (Linux 6.5), else by mincore.
func inCache(f *os.File) (bytes int64, err error) {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return 0, err
	}
	page := int64(os.Getpagesize())
	failed := control(f, func(fd int) {
		var stat unix.Cachestat_t
		if err = unix.Cachestat(uint(fd), &unix.CachestatRange{}, &stat, 0); err == nil {
			bytes = int64(stat.Cache) * page
			return
		}
		if err = mayKnow(fd, info); err == nil {
			bytes, err = mincore(fd, info.Size())
		}
	})
	return bytes, errors.Join(failed, err)
}

// mayKnow refuses files that the caller neither owns nor may write: since Linux 5.2 mincore says of these that all is there, and
// newer kernels refuse cachestat.
func mayKnow(fd int, info fs.FileInfo) error {
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) == os.Geteuid() {
		return nil
	}
	err := unix.Faccessat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.W_OK, unix.AT_EACCESS)
	if err != nil {
		return fmt.Errorf("the kernel does not tell how much of a file is in memory to those who may not write it: %w", err)
	}
	return nil
}

func mincore(fd int, size int64) (bytes int64, err error) {
	page := int64(os.Getpagesize())
	view, err := unix.MmapPtr(fd, 0, nil, uintptr(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return 0, err
	}
	defer unix.MunmapPtr(view, uintptr(size)) //nolint:errcheck // it was mapped a moment ago
	in := make([]byte, (size+page-1)/page)
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(view), uintptr(size), uintptr(unsafe.Pointer(&in[0]))); errno != 0 {
		return 0, errno
	}
	for _, b := range in {
		bytes += int64(b&1) * page
	}
	return bytes, nil
}
