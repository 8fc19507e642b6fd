// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

//go:build !fuzz

package memstat

// The process that the exact tests drive: this test binary, executed again, in a loop over orders of fixed size from a
// socket. The loop calls the kernel and nothing else, no allocation, no scheduler, so a child made by a bare fork goes
// on in it with a socket of its own, which Go does not offer otherwise. (Hence nosplit: the check of the stack is where
// a goroutine notices that it is to give way, and in the child there is nobody to give way to.) Between two orders none
// of them changes a page.

import (
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

type engine struct {
	control uintptr
	forked  bool
	page    uintptr
	order   order
	reply   reply
	maps    [maxMaps]unsafe.Pointer
	count   int64
	sum     byte
}

func engineMain(control string) {
	debug.SetGCPercent(-1) // nothing is to happen to the heap by itself
	signal.Ignore(syscall.SIGCHLD)
	fd, _ := strconv.Atoi(control)
	e := &engine{control: uintptr(fd), page: uintptr(os.Getpagesize())}
	e.run()
}

//go:norace
//go:nosplit
//go:nocheckptr
func (e *engine) run() {
	for {
		n, errno := e.call(unix.SYS_READ, e.control, uintptr(unsafe.Pointer(&e.order)), unsafe.Sizeof(e.order), 0, 0, 0)
		switch {
		case errno == unix.EINTR:
			continue
		case errno != 0 || n == 0: // the test has ended
			e.call(unix.SYS_EXIT_GROUP, 0, 0, 0, 0, 0, 0)
		}
		e.reply = reply{}
		e.obey()
		e.call(unix.SYS_WRITE, e.control, uintptr(unsafe.Pointer(&e.reply)), unsafe.Sizeof(e.reply), 0, 0, 0)
	}
}

// call makes a system call; in a forked child without telling the scheduler, which has no threads there.
//
//go:norace
//go:nosplit
//go:nocheckptr
func (e *engine) call(number, a, b, c, d, f, g uintptr) (uintptr, syscall.Errno) {
	if e.forked {
		r, _, errno := syscall.RawSyscall6(number, a, b, c, d, f, g)
		return r, errno
	}
	r, _, errno := syscall.Syscall6(number, a, b, c, d, f, g)
	return r, errno
}

//go:norace
//go:nosplit
//go:nocheckptr
func (e *engine) obey() {
	o := &e.order
	var errno syscall.Errno
	switch o.Op {
	case opMap:
		errno = e.add()
	case opTouch:
		for i := o.B; i < o.C; i++ {
			e.sum += *e.at(o.A, i)
		}
	case opWrite:
		for i := o.B; i < o.C; i += o.D {
			*e.at(o.A, i) = byte(i) + 1
		}
	case opProtect:
		_, errno = e.call(unix.SYS_MPROTECT, e.address(), e.length(), uintptr(o.D), 0, 0, 0)
	case opUnmap:
		_, errno = e.call(unix.SYS_MUNMAP, e.address(), e.length(), 0, 0, 0, 0)
	case opAdvise:
		_, errno = e.call(unix.SYS_MADVISE, e.address(), e.length(), uintptr(o.D), 0, 0, 0)
	case opFork:
		errno = e.fork()
	default:
		errno = unix.ENOSYS
	}
	e.reply.Errno = int64(errno)
}

//go:norace
//go:nosplit
//go:nocheckptr
func (e *engine) at(index, page int64) *byte {
	return (*byte)(unsafe.Add(e.maps[index], uintptr(page)*e.page))
}

//go:norace
//go:nosplit
func (e *engine) address() uintptr { return uintptr(unsafe.Pointer(e.at(e.order.A, e.order.B))) }

//go:norace
//go:nosplit
func (e *engine) length() uintptr { return uintptr(e.order.C-e.order.B) * e.page }

// add maps pages at an address that has the same place within 2 MiB as they have in the file, as huge pages need it, or
// just beside that. The room around it is given back.
//
//go:norace
//go:nosplit
//go:nocheckptr
func (e *engine) add() syscall.Errno {
	const huge = 2 << 20
	o := &e.order
	offset, length := uintptr(o.B)*e.page, uintptr(o.C)*e.page
	room := length + 2*huge
	low, errno := e.call(unix.SYS_MMAP, 0, room, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON, ^uintptr(0), 0)
	if errno != 0 {
		return errno
	}
	address := low + (huge-low%huge)%huge + offset%huge
	if address+length+huge <= low+room && o.D&mapCrooked != 0 {
		address += e.page
	}
	prot, flags := uintptr(unix.PROT_READ), uintptr(unix.MAP_SHARED|unix.MAP_FIXED)
	if o.D&mapPrivate != 0 {
		flags = unix.MAP_PRIVATE | unix.MAP_FIXED
	}
	if o.D&mapWritable != 0 {
		prot |= unix.PROT_WRITE
	}
	if o.A < 0 {
		flags |= unix.MAP_ANON
	}
	if _, errno = e.call(unix.SYS_MMAP, address, length, prot, flags, uintptr(o.A), offset); errno != 0 {
		return errno
	}
	if address > low {
		e.call(unix.SYS_MUNMAP, low, address-low, 0, 0, 0, 0)
	}
	if end := address + length; end < low+room {
		e.call(unix.SYS_MUNMAP, end, low+room-end, 0, 0, 0, 0)
	}
	e.maps[e.count] = *(*unsafe.Pointer)(unsafe.Pointer(&address))
	e.reply.Value = e.count
	e.count++
	return 0
}

//go:norace
//go:nosplit
//go:nocheckptr
func (e *engine) fork() syscall.Errno {
	pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno == 0 && pid == 0 {
		e.control, e.forked = uintptr(e.order.A), true
	}
	e.reply.Value = int64(pid) // the child says 0 on its own socket: it is there
	return errno
}
