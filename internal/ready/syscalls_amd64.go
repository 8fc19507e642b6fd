// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package ready

import "golang.org/x/sys/unix"

func native() syscalls {
	return syscalls{
		accept: unix.SYS_ACCEPT, accept4: unix.SYS_ACCEPT4,
		poll: unix.SYS_POLL, ppoll: unix.SYS_PPOLL,
		selekt: unix.SYS_SELECT, pselect6: unix.SYS_PSELECT6,
	}
}
