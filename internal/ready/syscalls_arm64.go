// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package ready

import "golang.org/x/sys/unix"

// arm64 has neither poll nor select: the C library makes ppoll and pselect6 of them.
func native() syscalls {
	return syscalls{
		accept: unix.SYS_ACCEPT, accept4: unix.SYS_ACCEPT4,
		poll: absent, ppoll: unix.SYS_PPOLL,
		selekt: absent, pselect6: unix.SYS_PSELECT6,
	}
}
