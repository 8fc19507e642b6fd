// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// The helper's orders for tests of the reading: who may look, and processes that change while they are looked at.

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/host"
)

func (h *helper) obeyReader(word string, a, b, c int) (string, error) {
	switch word {
	case "look": // says whether it is dumpable, and its identity on disk
		dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
		return fmt.Sprint("ok ", dumpable, " ", host.Identify()), err
	case "hide": // is not dumpable any more
		return "ok", unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	case "become": // runs its program once more, in a new address space, which obeys the next order
		fmt.Fprintln(h.out, "ok")
		return "", syscall.Exec("/proc/self/exe", os.Args, os.Environ())
	case "churn": // starts one short-lived program after the other from now on
		go func() {
			for {
				_ = exec.Command("/bin/true").Run()
			}
		}()
		return "ok", nil
	case "forks": // MAP FIRST END: forks one child after the other from now on, that write these pages and end
		go func() {
			for {
				if answer, err := h.fork(a, b, c); err == nil {
					var pid int
					_, _ = fmt.Sscanf(answer, "ok %d", &pid)
					_ = unix.Kill(pid, unix.SIGKILL)
					_, _ = unix.Wait4(pid, nil, 0, nil)
				}
			}
		}()
		return "ok", nil
	case "starts": // FD: starts the program in this file as its child
		go func() { _ = exec.Command(fmt.Sprint("/proc/self/fd/", a)).Run() }()
		return "ok", nil
	case "endfirst": // ends its first thread; another goes on obeying
		if unix.Gettid() != unix.Getpid() {
			return "", errors.New("this is not the first thread")
		}
		go func() {
			fmt.Fprintln(h.out, "ok")
			h.run()
			os.Exit(0)
		}()
		_, _, _ = unix.Syscall(unix.SYS_EXIT, 0, 0, 0) // not Exit: that would take all threads
		return "", errors.New("cannot end a thread")
	case "another": // UID: starts a process of that user as its child, which ends with it
		// Not by SysProcAttr: a child of vfork that changes its user makes its parent not dumpable along with itself.
		cmd := exec.Command("setpriv", fmt.Sprint("--reuid=", a), fmt.Sprint("--regid=", a), "--clear-groups",
			"sh", "-c", "echo; exec cat")
		_, inErr := cmd.StdinPipe()
		out, outErr := cmd.StdoutPipe()
		if err := errors.Join(inErr, outErr); err != nil {
			return "", err
		}
		if err := cmd.Start(); err != nil {
			return "", err
		}
		_, err := out.Read(make([]byte, 1))
		go func() { _ = cmd.Wait() }()
		return fmt.Sprint("ok ", cmd.Process.Pid), err
	}
	return "", errors.New("unknown command " + word)
}

const nobody = 65534

func asNobody() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
}

// docker is a command in front of a program that leaves root the capabilities that Docker leaves it: not CAP_SYS_PTRACE,
// CAP_SYS_ADMIN or CAP_PERFMON.
func docker(t testing.TB) []string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root, to have processes of two users")
	}
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		t.Skip("needs setpriv (util-linux)")
	}
	return []string{
		setpriv, "--inh-caps=-all", "--bounding-set=-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid," +
			"+setpcap,+net_bind_service,+net_raw,+sys_chroot,+mknod,+audit_write,+setfcap",
	}
}

// hidepid is a command in front of a program that hides the processes of others from it, also when it is in group 0.
func hidepid(t testing.TB, mode int) []string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root, to mount /proc anew")
	}
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		t.Skip("needs unshare (util-linux)")
	}
	mount := fmt.Sprintf(`mount -t proc -o hidepid=%d,gid=12345 proc /proc && exec "$@"`, mode)
	through := []string{unshare, "-m", "sh", "-c", mount, "sh"}
	if out, err := exec.Command(through[0], append(through[1:], "true")...).CombinedOutput(); err != nil {
		t.Skipf("cannot mount /proc with hidepid=%d (Linux 5.8): %v %s", mode, err, out)
	}
	return through
}
