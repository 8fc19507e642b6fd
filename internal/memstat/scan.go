// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// The page scan by PAGEMAP_SCAN (Linux 6.7) on /proc/PID/pagemap. It counts by page table entries, so it holds on
// kernels built with CONFIG_NO_PAGE_MAPCOUNT too, and is not diluted by processes outside the fleet.

import (
	"errors"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// From include/uapi/linux/fs.h; x/sys has none of it.
const (
	ioctlPagemapScan = 0xc0606610 // _IOWR('f', 16, struct pm_scan_arg)

	pageIsFile    = 1 << 2
	pageIsPresent = 1 << 3
	pageIsSwapped = 1 << 4
	pageIsZero    = 1 << 5
	pageIsHuge    = 1 << 6
)

// scanArg is struct pm_scan_arg.
type scanArg struct {
	size, flags                   uint64
	start, end, walkEnd           uint64
	vec, vecLen, maxPages         uint64
	inverted, mask, anyOf, result uint64
}

// scanRegion is struct page_region.
type scanRegion struct{ start, end, categories uint64 }

// The kernel holds the mmap lock of the process for one call, so a call covers a part, as pace finds right. With a pause
// between two parts of 4 KiB pages a worker's mmap keeps a p99 of 0.36 ms during the scan of 4 GiB; without it 44 ms.
const scanPause = time.Microsecond // plus the timer slack of 50 µs

// The sources of a page scan as the rows name them.
const (
	ioctlScan   = "pagemap_scan"
	pagemapScan = "pagemap"
)

// scanner reads the pages of mappings.
type scanner struct {
	ioctl   bool // PAGEMAP_SCAN works here; else pagemap itself is read
	page    uint64
	regions []scanRegion
	entries []byte
	sharing pace // of PAGEMAP_SCAN on shared mappings
	copying pace // and on private ones, where each page is looked at for being a copy: four times as dear
	reading pace // of pagemap itself
	calls   *callTimer
	stopped func() bool // asked between two calls, since a scan of 100 GiB takes seconds
}

var errStopped = errors.New("the sampler is stopping")

// newScanner finds out what the kernel can do by trying it on this process.
func newScanner(proc string, calls *callTimer) *scanner {
	s := &scanner{
		page: uint64(unix.Getpagesize()), calls: calls, stopped: func() bool { return false },
		sharing: pace{most: sharedReach}, copying: pace{most: privateReach},
	}
	fd, err := openProc(proc + "/self/pagemap")
	if err != nil {
		return s
	}
	defer unix.Close(fd)
	s.regions = make([]scanRegion, sharedReach/s.page) // memory only as far as it is used
	_, err = s.call(fd, 0, s.page, pageIsFile)
	s.ioctl = err == nil
	return s
}

func (s *scanner) name() string {
	if s.ioctl {
		return ioctlScan
	}
	return pagemapScan
}

// scan appends the pages of one mapping to out. fd is the /proc/PID/pagemap of its process. With forked set, copies
// that another process has too are told apart from those of this process alone, by a second look at them.
func (s *scanner) scan(fd int, m mapping, forked bool, out *runWriter) error {
	if !s.ioctl {
		return s.readMapping(fd, m, forked, out)
	}
	interest, p := uint64(pageIsFile), &s.copying
	if m.shared {
		interest, p = 0, &s.sharing // asking costs four times as much on 4 KiB pages, and the answer is known
	}
	p.huge = 0
	for start := m.start; start < m.end; {
		end := p.end(start, m.end)
		var cost time.Duration
		timed := p.huge == 0 // behind huge pages there are mostly more of them, and the clock is a tenth of the call
		if timed {
			cost = -threadCPU()
		}
		found, err := s.call(fd, start, end, interest)
		if err != nil {
			return err
		}
		if timed {
			cost += threadCPU()
		}
		small := false
		for _, r := range found {
			c := classOf(r.categories, m.shared)
			small = small || c != absent && c != fileHuge
			if err := s.emit(fd, m, r.start, r.end, c, forked, out); err != nil {
				return err
			}
		}
		switch {
		case !small:
			p.huge += end - start
		case timed:
			p.took(end-start, cost)
			s.calls.work = max(s.calls.work, cost)
		default:
			p.huge = 0
		}
		start = end
		if s.stopped() {
			return errStopped
		}
		if small && end < m.end {
			pause()
		}
	}
	return nil
}

// pause lets a worker that waits for its mmap lock have it.
func pause() {
	t := unix.NsecToTimespec(int64(scanPause))
	_ = unix.Nanosleep(&t, nil)
}

// call makes one PAGEMAP_SCAN over addresses [start, end), at most sharedReach of them. The result is good until the
// next call. There is room for a region a page, so one call is enough; to continue at walk_end would be wrong, since
// the kernel leaves a stale one behind when it found more than 512 regions (seen on Linux 6.18).
func (s *scanner) call(fd int, start, end, interest uint64) ([]scanRegion, error) {
	arg := scanArg{
		start: start, end: end,
		vec: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(s.regions)))), vecLen: uint64(len(s.regions)),
		anyOf:  pageIsPresent | pageIsSwapped,
		result: pageIsPresent | pageIsSwapped | pageIsZero | pageIsHuge | interest,
	}
	arg.size = uint64(unsafe.Sizeof(arg))
	for {
		begun := time.Now()
		n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), ioctlPagemapScan, uintptr(unsafe.Pointer(&arg)))
		s.calls.done(begun)
		switch {
		case errno == unix.EINTR:
			continue
		case errno != 0:
			return nil, errno
		}
		return s.regions[:n], nil
	}
}

// classOf reads the categories of a region. A page under migration is not present but is still known to be the file's.
func classOf(categories uint64, shared bool) class {
	switch {
	case categories&pageIsZero != 0: // not in the kernel's Rss either
		return absent
	case categories&pageIsFile != 0 || shared:
		if categories&pageIsHuge != 0 {
			return fileHuge
		}
		return file
	case categories&pageIsPresent != 0:
		return copied
	default:
		return swapped
	}
}

// emit appends a region of one class.
func (s *scanner) emit(fd int, m mapping, start, end uint64, c class, forked bool, out *runWriter) error {
	if c == copied && forked {
		return s.readRange(fd, m, start, end, true, out)
	}
	out.add(m.pageOf(start, s.page), m.pageOf(end, s.page), c)
	return nil
}

// pageOf turns an address of the mapping into a page of the segment.
func (m mapping) pageOf(address, page uint64) uint64 { return (address - m.start + m.offset) / page }
