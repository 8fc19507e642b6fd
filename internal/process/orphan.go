// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bytes"
	"encoding/binary"
	"os"
	"slices"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/host"
)

// BecomeSubreaper makes orphaned descendants of this process its children (Linux 3.4), so that they can be reaped.
func BecomeSubreaper() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// ReapOrphans reaps children that this program did not start: orphans that came to it as subreaper or PID 1. own tells
// which pids are somebody's to wait for. It must run where all children are started, so that own cannot miss one.
//
// It peeks (WNOWAIT) before it reaps and stops at the first own zombie, which would be peeked at again and again: call
// it once more when that one was reaped.
func ReapOrphans(own func(pid int) bool) (reaped int) {
	for {
		var info unix.Siginfo
		err := ignoringEINTR(func() error {
			return unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		})
		pid := siginfoPID(&info)
		if err != nil || pid == 0 || own(pid) {
			return reaped
		}
		if _, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); err != nil {
			return reaped
		}
		reaped++
	}
}

// siginfoPID reads si_pid, which x/sys leaves unnamed: the first field of the union behind signo, errno and code,
// aligned to a pointer's size (include/uapi/asm-generic/siginfo.h).
func siginfoPID(info *unix.Siginfo) int {
	offset := 3 * 4
	if unsafe.Sizeof(uintptr(0)) == 8 {
		offset = 4 * 4
	}
	raw := (*[20]byte)(unsafe.Pointer(info))
	return int(int32(binary.NativeEndian.Uint32(raw[offset:])))
}

// Orphans returns the children of this process that have not ended. When everything that was started here is gone, these are
// descendants that came to it as their subreaper.
func Orphans() []int {
	tree := host.Tree("/proc", os.Getpid())
	return slices.DeleteFunc(tree, func(pid int) bool {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil {
			return true
		}
		fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:]) // state ppid …
		return len(fields) < 2 || string(fields[1]) != strconv.Itoa(os.Getpid()) || fields[0][0] == 'Z'
	})
}

// SignalOrphan signals a child that Orphans returned. It must run where orphans are reaped, so that the number is its own.
func SignalOrphan(pid int, sig unix.Signal) { _ = unix.Kill(pid, sig) }
