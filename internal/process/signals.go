// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package process

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	lastSignal = 64
	sigsetSize = lastSignal / 8
	sigIgn     = 1 // SIG_IGN
)

// resetSignals gives the command the signals of a fresh process: none blocked on this thread, none ignored. What
// preforkd was started with would come through otherwise: a shell starts a program behind & with INT and QUIT ignored,
// nohup with HUP, and a worker whose stop signal is ignored can only be killed. Handlers need no care: execve ends
// them.
func resetSignals() error {
	for sig := 1; sig <= lastSignal; sig++ {
		// struct sigaction of rt_sigaction(2) is the handler, then at most three words; all zero is SIG_DFL.
		var action, standard [8]uintptr
		_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION,
			uintptr(sig), 0, uintptr(unsafe.Pointer(&action)), sigsetSize, 0, 0)
		if errno == 0 && action[0] == sigIgn {
			_, _, errno = unix.RawSyscall6(unix.SYS_RT_SIGACTION,
				uintptr(sig), uintptr(unsafe.Pointer(&standard)), 0, sigsetSize, 0, 0)
		}
		if errno != 0 {
			return errno
		}
	}
	return unix.PthreadSigmask(unix.SIG_SETMASK, &unix.Sigset_t{}, nil)
}
