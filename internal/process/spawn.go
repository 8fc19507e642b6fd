// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package process

// Fork and exec: one child, with exactly the descriptors it is given, running the exec stage.

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// child is a forked process in its exec stage.
type child struct {
	pid    int
	pidfd  *os.File // readable when the process has ended; in the netpoller
	report *os.File // the exec stage's error report; ends without a byte when it became the command
}

// spawn forks, on the calling thread. files become descriptors 0, 1, 2 … of the child; they stay the caller's. plan's
// descriptors follow them.
func spawn(files []int, plan *stagePlan) (*child, error) {
	if isStage() {
		// Without this, a program that forgot would start itself as its own worker, and so on for ever.
		return nil, errors.New("cannot start a process: this program must call supervisor.Stage first of all in main")
	}
	plan.Parent = os.Getpid()
	planFD, err := writePlan(plan)
	if err != nil {
		return nil, err
	}
	defer unix.Close(planFD)
	reportR, reportW, err := pipe()
	if err != nil {
		return nil, err
	}
	defer unix.Close(reportW)

	all := make([]uintptr, 0, len(files)+2)
	for _, fd := range append(slices.Clip(files), planFD, reportW) {
		all = append(all, uintptr(fd))
	}
	pidfd := -1
	pid, _, err := syscall.StartProcess("/proc/self/exe", []string{stageName, strconv.Itoa(len(files))}, &syscall.ProcAttr{
		// One thread is enough to get to execve; the worker's own environment is in the plan.
		Env:   []string{"GOMAXPROCS=1", "GOGC=off"},
		Files: all,
		Sys:   &syscall.SysProcAttr{Setpgid: true, PidFD: &pidfd},
	})
	if err == nil && pidfd < 0 {
		err = errors.New("this kernel has no pidfd (Linux 5.4 is needed)")
		unix.Kill(pid, unix.SIGKILL)
		unix.Wait4(pid, nil, 0, nil)
	}
	if err != nil {
		reportR.Close()
		return nil, fmt.Errorf("fork: %w", err)
	}
	return &child{pid: pid, pidfd: pollable(pidfd, "pidfd"), report: reportR}, nil
}

// writePlan puts the plan into a memory file: unlike a pipe it takes any size without a reader, unlike argv nobody sees
// it.
func writePlan(plan *stagePlan) (int, error) {
	text, err := json.Marshal(plan)
	if err != nil {
		return -1, err
	}
	// Linux 6.3 can be set to refuse memfds that might be executed (vm.memfd_noexec=2); before, the flag is EINVAL.
	fd, err := unix.MemfdCreate("preforkd-plan", unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate("preforkd-plan", unix.MFD_CLOEXEC)
	}
	if err != nil {
		return -1, fmt.Errorf("memfd_create: %w", err)
	}
	for len(text) > 0 {
		n, err := unix.Write(fd, text)
		if err != nil && !errors.Is(err, unix.EINTR) {
			unix.Close(fd)
			return -1, fmt.Errorf("write plan: %w", err)
		}
		text = text[max(n, 0):]
	}
	return fd, nil
}

// pipe makes a pipe whose reading end waits in the netpoller and whose writing end blocks, as a child expects.
func pipe() (*os.File, int, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, -1, fmt.Errorf("pipe: %w", err)
	}
	return pollable(fds[0], "pipe"), fds[1], nil
}

// pollable hands fd to the netpoller: os.NewFile takes one that is non-blocking.
func pollable(fd int, name string) *os.File {
	_ = unix.SetNonblock(fd, true)
	return os.NewFile(uintptr(fd), name)
}
