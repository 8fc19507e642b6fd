// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// Looking into processes of another user. maps, smaps_rollup and pagemap are opened under the kernel's ptrace rules
// (PTRACE_MODE_READ_FSCREDS): the fsuid and the fsgid of the reader are the three uids and gids of the process, which is
// dumpable and has no capability that the reader lacks, or the reader has CAP_SYS_PTRACE. Root in a container has it not.
//
// Measured on Linux 6.18 as root with the capabilities that Docker leaves (setpriv --bounding-set), workers of nobody:
//
//	own fsuid              maps, smaps_rollup, pagemap, io: EACCES; status, stat, statm, task/*/children, fd: read
//	its fsuid, our fsgid   the same EACCES
//	its fsuid and fsgid    all of them; pread of pagemap and PAGEMAP_SCAN on the descriptor go on when our own is back,
//	                       since only the opening is checked
//	not dumpable           EACCES either way
//	CAP_PERFMON            is enough as well for maps, smaps_rollup and pagemap
//	hidepid=1, 2           EPERM, ENOENT for status too; not to group 0, unless the option gid= names another. With 1 the
//	                       owner of /proc/PID is shown, and with its fsuid and fsgid all is there
//
// Yama's ptrace_scope is about PTRACE_MODE_ATTACH only (security/yama/yama_lsm.c), so it hides none of these files.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/host"
)

// access looks into processes as whoever may. Its zero value is ready; it belongs to one goroutine, which is locked to
// its thread.
type access struct {
	stuck bool // the thread could not get its own identity back: it must end with its goroutine
}

// try calls look, which reads of a process in dir, its directory in /proc. Where that is refused, it is called once more
// as the process's own user. The error of what is refused all the same says what to do about it.
func (a *access) try(dir string, pid int, look func() error) error {
	err := look()
	if err == nil || gone(err) && !hidden(dir, pid) || !gone(err) && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if gone(err) { // to the caller that would mean that it has ended
		err = fmt.Errorf("cannot see process %d in %s: %w", pid, path.Dir(dir), unix.EPERM)
	}
	var again error
	if who, shown := host.Owner(dir); shown && a.as(who, func() { again = look() }) && (again == nil || gone(again)) {
		return again
	}
	return &unreadable{err: err, help: help(dir, err)}
}

// as calls f as another user, false when this process may not be that user.
func (a *access) as(who host.Identity, f func()) (done bool) {
	if a.stuck {
		return false
	}
	done, a.stuck = host.As(who, f)
	return done
}

// hidden tells whether a process is there that /proc does not show.
func hidden(dir string, pid int) bool {
	if _, shown := host.Owner(dir); shown {
		return false
	}
	_, err := unix.Getpgid(pid)
	return !errors.Is(err, unix.ESRCH)
}

// unreadable says why something of a process could not be read, and what to do about it.
type unreadable struct {
	err  error
	help string
	told bool // by another error of the same row
}

func (u *unreadable) Error() string {
	if u.told {
		return u.err.Error()
	}
	return u.err.Error() + "; " + u.help
}

func (u *unreadable) Unwrap() error { return u.err }

// help finds out what stands in the way.
func help(dir string, err error) string {
	if errors.Is(err, unix.EPERM) {
		return "/proc is mounted with hidepid: give preforkd CAP_SYS_PTRACE, or mount /proc with gid= a group of preforkd"
	}
	who, _ := host.Owner(dir)
	if files, _ := host.Owner(dir + "/status"); files != who || who.UID == os.Geteuid() {
		return "the process is not dumpable or has capabilities that preforkd has not: give preforkd CAP_SYS_PTRACE"
	}
	return "give preforkd CAP_SYS_PTRACE or run it as the workers' user"
}

// adviseOnce leaves what to do about it in the last of some errors only.
func adviseOnce(errs ...error) {
	said := ""
	for _, err := range slices.Backward(errs) {
		if u, ok := errors.AsType[*unreadable](err); ok {
			u.told = u.help == said
			said = u.help
		}
	}
}
