// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package process

// Orphans, in a helper of its own: a subreaper changes the whole process.

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// orphanReport is what helpOrphans prints.
type orphanReport struct{ Own, Orphans, Wrong int }

// helpOrphans is a supervisor's loop: it starts workers, reaps orphans, and counts both.
func helpOrphans() error {
	if err := BecomeSubreaper(); err != nil {
		return err
	}
	runtime.LockOSThread()
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	type news struct {
		p     *Process
		want  Exited
		event Event
	}
	events := make(chan news, 1000)
	own := map[int]bool{}
	var report orphanReport
	reap := func() { report.Orphans += ReapOrphans(func(pid int) bool { return own[pid] }) }
	for i := range 40 {
		// Five orphans each: the subshell ends at once, and so does what it left behind.
		spec := command("sh", "-c", "for i in 1 2 3 4 5; do (: &); done; exit "+strconv.Itoa(i))
		spec.Stdout, spec.Stderr = 1, 2
		n := news{want: Exited{Code: i}}
		started := make(chan struct{})
		p, err := Start(spec, func(e Event) { <-started; events <- news{n.p, n.want, e} })
		if err != nil {
			return err
		}
		n.p = p
		own[p.PID] = true
		close(started)
		reap()
	}
	deadline := time.After(patience)
	for report.Own < 40 || report.Orphans < 200 {
		select {
		case <-children:
		case n := <-events:
			if n.event == (Spawned{}) {
				continue
			}
			delete(own, n.p.PID)
			report.Own++
			if n.event != n.want {
				report.Wrong++
			}
		case <-deadline:
			return fmt.Errorf("waited in vain: %+v", report)
		}
		reap()
	}
	return json.NewEncoder(os.Stdout).Encode(report)
}

func TestOrphansAreReapedAndNoStatusOfOurOwnIsStolen(t *testing.T) {
	report := decode[orphanReport](t, output(t, helper(t, "orphans")))
	if want := (orphanReport{Own: 40, Orphans: 200}); report != want {
		t.Errorf("it counted %+v, want %+v", report, want)
	}
}

// helpHidden makes an own zombie and then an orphan behind it.
func helpHidden() error {
	if err := BecomeSubreaper(); err != nil {
		return err
	}
	runtime.LockOSThread()
	own, err := zombie("/bin/sh", "-c", "exit 7")
	if err != nil {
		return err
	}
	// It ends when its child does: what the child leaves is ours then.
	parent, err := zombie("/bin/sh", "-c", "(:) & exit 0")
	if err != nil {
		return err
	}
	if _, err := unix.Wait4(parent, nil, 0, nil); err != nil {
		return err
	}
	mine := func(pid int) bool { return pid == own }
	if n := ReapOrphans(mine); n != 0 {
		return fmt.Errorf("%d orphans were reaped, and our own zombie was in front of them", n)
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(own, &status, 0, nil); err != nil || status.ExitStatus() != 7 {
		return fmt.Errorf("the own child: exit status %d, %w", status.ExitStatus(), err)
	}
	for end := time.Now().Add(patience); ; runtime.Gosched() {
		switch n := ReapOrphans(mine); {
		case n == 1:
			return nil
		case n > 1 || time.Now().After(end):
			return fmt.Errorf("%d orphans were reaped behind it", n)
		}
	}
}

// zombie starts a program and returns when it has ended.
func zombie(args ...string) (pid int, err error) {
	pid, err = syscall.ForkExec(args[0], args, &syscall.ProcAttr{Files: []uintptr{0, 1, 2}})
	if err == nil {
		err = unix.Waitid(unix.P_PID, pid, &unix.Siginfo{}, unix.WEXITED|unix.WNOWAIT, nil)
	}
	return pid, err
}

func TestAnOwnZombieInFrontHidesOrphansOnlyUntilItIsReaped(t *testing.T) {
	output(t, helper(t, "hidden"))
}

func TestWithoutChildrenThereIsNothingToReap(t *testing.T) {
	n := ReapOrphans(func(pid int) bool {
		t.Errorf("it found %d", pid)
		return true
	})
	if n != 0 {
		t.Errorf("it reaped %d", n)
	}
}
