// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package host

// Looking into /proc as another user: most of what it tells of a process is opened under the kernel's ptrace rules with
// the fsuid and the fsgid of the thread (PTRACE_MODE_…_FSCREDS), so that root without CAP_SYS_PTRACE, as in a container,
// sees more of a worker as the worker's own user.

import (
	"golang.org/x/sys/unix"
)

// Identity is whom the kernel takes a thread for when it opens a file.
type Identity struct{ UID, GID int }

// Identify asks who this thread is, by a change to nobody, which the kernel refuses.
func Identify() Identity {
	uid, _ := unix.SetfsuidRetUid(-1)
	gid, _ := unix.SetfsgidRetGid(-1)
	return Identity{uid, gid}
}

// Owner returns whom a file belongs to. The directory of a process in /proc belongs to its effective uid and gid, what
// is in there to root where it is not dumpable.
func Owner(name string) (Identity, bool) {
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil {
		return Identity{}, false
	}
	return Identity{int(st.Uid), int(st.Gid)}, true
}

// As calls f as another user, and reports whether it did: not where this process may not be that user, or is. The caller
// has locked its goroutine to its thread, which gets its own identity back; stuck: it could not, and must end with the
// goroutine.
func As(who Identity, f func()) (done, stuck bool) {
	own := Identify()
	if own == who {
		return false, false
	}
	dumpable, _ := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	become(who, dumpable)
	defer func() {
		become(own, dumpable)
		stuck = Identify() != own
	}()
	if Identify() != who {
		return false, false
	}
	f()
	return true, false
}

// become changes the identity of this thread alone, as far as that is allowed. With each change of a thread's fsuid the
// kernel makes the whole process not dumpable (commit_creds), so that no worker of our own user could open
// /proc/PREFORKD/fd/N for its data any more; so that is set right at once. In between, about a microsecond, such an open
// fails with EACCES.
func become(who Identity, dumpable int) {
	_, _ = unix.SetfsgidRetGid(who.GID) // both return what was before and no error; Identify tells
	_, _ = unix.SetfsuidRetUid(who.UID)
	if dumpable == 1 {
		_ = unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0) //nolint:forbidigo // gives back what setfsuid takes
	}
}
