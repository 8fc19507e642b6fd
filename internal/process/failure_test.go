// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package process

// Commands that cannot be started.

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/contract"
)

func TestWhatCannotBeStartedIsOneErrorAndLeavesNothing(t *testing.T) {
	dir := temp(t)
	write(t, 0o644, dir+"/plain", "#!/bin/sh\n")
	write(t, 0o755, dir+"/unknown", "neither ELF nor script\n")
	write(t, 0o755, dir+"/orphaned", "#!/no/such/interpreter\n")
	write(t, 0o644, dir+"/text", "")
	for _, c := range []struct {
		name string
		dir  string
		args []string
		want string
	}{
		{"missing", dir, []string{"./nope"}, "exec ./nope: no such file or directory"},
		{"missing in PATH", "", []string{"no-such-program"}, "exec no-such-program: no such file or directory"},
		{"not executable", dir, []string{"./plain"}, "exec ./plain: permission denied"},
		{"a directory", dir, []string{"/tmp"}, "exec /tmp: permission denied"},
		{"below a file", dir, []string{"./plain/x"}, "exec ./plain/x: not a directory"},
		{"unknown format", dir, []string{"./unknown"}, "exec ./unknown: exec format error"},
		{"no interpreter", dir, []string{"./orphaned"}, "exec ./orphaned: its interpreter is missing: no such file or directory"},
		{"too long", "", []string{"true", strings.Repeat("x", 1<<20)}, "exec true: argument list too long"},
		{"no directory", dir + "/none", []string{"true"}, "chdir " + dir + "/none: no such file or directory"},
		{"directory is a file", dir + "/text", []string{"true"}, "chdir " + dir + "/text: not a directory"},
		{"no such dataset", "", []string{"true", "{path:none}"}, `prepare: cannot expand {path:none} in "{path:none}" (write {{path:none} to keep it): no dataset is called "none"; datasets: none; listeners: none`},
	} {
		t.Run(c.name, func(t *testing.T) {
			noLeak(t, func(t *testing.T) {
				spec := command(c.args...)
				spec.Dir = c.dir
				p := start(t, spec)
				events := p.all(t)
				failed, ok := events[0].(SpawnFailed)
				if len(events) != 1 || !ok {
					t.Fatalf("the events are %#v, want SpawnFailed alone", events)
				}
				if failed.Err.Error() != c.want || !failed.Permanent {
					t.Errorf("permanent %v: %v\nwant %s", failed.Permanent, failed.Err, c.want)
				}
				if text := p.text(t) + p.log.String(); text != "" {
					t.Errorf("the failed stage wrote %q", text)
				}
			})
		})
	}
}

func TestOnlyAFullMachineIsWorthAnotherTry(t *testing.T) {
	for errno, permanent := range map[syscall.Errno]bool{
		unix.ENOENT: true, unix.EACCES: true, unix.ENOEXEC: true, unix.E2BIG: true, unix.EPERM: true, unix.ELOOP: true, 0: true,
		unix.EAGAIN: false, unix.ENOMEM: false, unix.ENFILE: false, unix.EMFILE: false, unix.EIO: false, unix.ETXTBSY: false,
	} {
		if e := (&stageError{Errno: int(errno)}); e.permanent() != permanent {
			t.Errorf("%v: permanent is %v", errno, e.permanent())
		}
	}
}

func TestWhenThereIsNoForkThereIsNoEvent(t *testing.T) {
	noLeak(t, func(t *testing.T) {
		spec := command("true")
		spec.Log, spec.Stdout = &log{}, 1<<20 // no such descriptor
		var err error
		onThread(func() { _, err = Start(spec, func(e Event) { t.Errorf("the event %#v", e) }) })
		if !errors.Is(err, unix.EBADF) || !strings.HasPrefix(err.Error(), "fork: ") {
			t.Errorf("the error is %v", err)
		}
	})
}

// helpUnstaged is an exec stage that did not call Stage.
func helpUnstaged() error {
	spec := command("true")
	spec.Stdout, spec.Stderr = 1, 2
	var err error
	onThread(func() { _, err = Start(spec, func(Event) {}) })
	fmt.Println(err)
	return nil
}

// A program that forgets Stage would start itself over and over.
func TestAProgramWithoutStageDoesNotStartItselfForEver(t *testing.T) {
	cmd := helper(t, "unstaged")
	cmd.Args = []string{stageName, "3"}
	const want = "cannot start a process: this program must call supervisor.Stage first of all in main\n"
	if out := output(t, cmd); out != want {
		t.Errorf("it says %q, want %q", out, want)
	}
}

func TestTheStageOfADeadParentBecomesNothing(t *testing.T) {
	dir := temp(t)
	fd, err := writePlan(&stagePlan{
		Parent: -1, Args: contract.Strings{"touch", dir + "/survivor"}, Env: contract.Strings{searchPath},
	})
	if err != nil {
		t.Fatal(err)
	}
	plan := os.NewFile(uintptr(fd), "plan")
	defer plan.Close()
	cmd := helper(t, "", plan)
	cmd.Args = []string{stageName, "3"}
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := os.Stat(dir + "/survivor"); err == nil {
		t.Error("the command ran")
	}
}
