// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package process

// The exec stage: what runs in the child between fork and exec. Go cannot act there, so the child starts this program
// again and the stage becomes the command itself. Measured: 4-5 ms.

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/contract"
)

// stageName is argv[0] of the exec stage. No shell or user starts a program under this name.
const stageName = "preforkd: exec stage"

// stagePlan is all that the exec stage must know. Either Worker, or Args and Env, say what it becomes.
type stagePlan struct {
	Parent      int    // the pid that must still be our parent; it may be 1
	Dir         []byte // not a string: see contract.Strings
	OOMScoreAdj *int
	Credential  *Credential
	Worker      *contract.Plan
	Paths       [][]string // for each dataset, the paths to try, best first
	Args        contract.Strings
	Env         contract.Strings
	Quiet       []quietEntry // in place of all the rest: see StartQuiet
}

// stageError travels back to the parent as JSON.
type stageError struct {
	Step  string
	Text  string
	Errno int
}

func (e *stageError) Error() string { return e.Step + ": " + e.Text }

// permanent tells whether trying again could not help: not when memory or processes ran out.
func (e *stageError) permanent() bool {
	switch syscall.Errno(e.Errno) {
	case unix.EAGAIN, unix.ENOMEM, unix.ENFILE, unix.EMFILE, unix.EIO, unix.ETXTBSY:
		return false
	}
	return true
}

// isStage tells whether this process was started as an exec stage.
func isStage() bool { return len(os.Args) == 2 && os.Args[0] == stageName }

// Stage makes this process the command of its plan if it was started as an exec stage, and then does not return. A
// program that uses package supervisor calls it first of all in main.
func Stage() {
	if !isStage() {
		return
	}
	// prctl and the raw credential calls act on one thread, which must be the one that calls execve.
	runtime.LockOSThread()
	planFD, err := strconv.Atoi(os.Args[1])
	if err != nil {
		syscall.Exit(2)
	}
	report := os.NewFile(uintptr(planFD+1), "report")
	text, err := json.Marshal(runStage(planFD))
	if err == nil {
		_, _ = report.Write(text)
	}
	syscall.Exit(127) // not os.Exit: there is nothing to tidy up, and the race detector would hold us for a second
}

// runStage does the steps in the only order that works and returns what stopped it.
func runStage(planFD int) *stageError {
	fail := func(step string, err error) *stageError {
		var errno syscall.Errno
		errors.As(err, &errno)
		return &stageError{Step: step, Text: err.Error(), Errno: int(errno)}
	}
	plan, err := readPlan(planFD)
	if err != nil {
		return fail("read plan", err)
	}
	if plan.Quiet != nil {
		return fail("silence", runQuiet(plan.Quiet))
	}
	if dir := string(plan.Dir); dir != "" {
		if err := unix.Chdir(dir); err != nil {
			return fail("chdir "+dir, err)
		}
	}
	if plan.OOMScoreAdj != nil {
		// Best effort: raising is always allowed, but /proc may be read-only in a container.
		_ = os.WriteFile("/proc/self/oom_score_adj", []byte(strconv.Itoa(*plan.OOMScoreAdj)), 0)
	}
	if c := plan.Credential; c != nil {
		if err := setCredential(c); err != nil {
			return fail(fmt.Sprintf("become uid %d gid %d", c.UID, c.GID), err)
		}
	}
	// Only now: setuid clears the parent-death signal.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fail("prctl PR_SET_PDEATHSIG", err)
	}
	if os.Getppid() != plan.Parent {
		syscall.Exit(0) // the parent died before the line above: nobody is left to tell
	}
	args, env, err := plan.command()
	if err != nil {
		return fail("prepare", err)
	}
	path, err := LookPath(args[0], env)
	if err != nil {
		return fail("exec "+args[0], err)
	}
	// Everything beyond the contract is closed by the execve that succeeds, strays that preforkd inherited included.
	if err := closeOnExecFrom(planFD); err != nil {
		return fail("close_range", err)
	}
	if err := resetSignals(); err != nil {
		return fail("reset signals", err)
	}
	// syscall.Exec puts back the soft NOFILE limit that the Go runtime raised at start.
	err = syscall.Exec(path, args, env)
	if errors.Is(err, unix.ENOENT) {
		err = fmt.Errorf("its interpreter is missing: %w", err) // LookPath has just seen the file itself
	}
	return fail("exec "+args[0], err)
}

func readPlan(fd int) (*stagePlan, error) {
	text, err := io.ReadAll(io.NewSectionReader(os.NewFile(uintptr(fd), "plan"), 0, 1<<30))
	if err != nil {
		return nil, err
	}
	plan := new(stagePlan)
	return plan, json.Unmarshal(text, plan)
}

// command expands the plan with what only this process knows: its pid, and which paths it can open.
func (plan *stagePlan) command() (args, env []string, err error) {
	if plan.Worker == nil {
		return plan.Args, plan.Env, nil
	}
	paths := make([]string, len(plan.Paths))
	for i, candidates := range plan.Paths {
		paths[i] = choosePath(plan.Worker.DataFD(i), candidates)
	}
	if env, err = plan.Worker.Environ(os.Getpid(), paths); err != nil {
		return nil, nil, err
	}
	args, err = plan.Worker.Args(paths)
	return args, env, err
}

// choosePath returns the first candidate that opens, here and now, the very inode of fd. The worker's own
// /proc/self/fd is the last resort: it works always, but not in processes that the worker spawns.
func choosePath(fd int, candidates []string) string {
	var want, have unix.Stat_t
	if unix.Fstat(fd, &want) == nil {
		for _, path := range candidates {
			got, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				continue
			}
			err = unix.Fstat(got, &have)
			unix.Close(got)
			if err == nil && have.Dev == want.Dev && have.Ino == want.Ino {
				return path
			}
		}
	}
	return "/proc/self/fd/" + strconv.Itoa(fd)
}

// closeOnExecFrom marks every descriptor from first on. close_range needs Linux 5.9, its flag 5.11; where it is missing
// (ENOSYS, EINVAL) or a seccomp filter refuses it (EPERM), /proc lists the descriptors.
func closeOnExecFrom(first int) error {
	if unix.CloseRange(uint(first), math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return nil
	}
	return closeOnExecListed(first)
}

func closeOnExecListed(first int) error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd >= first {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}
