// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package process

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
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
