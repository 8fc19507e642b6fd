// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package process

// The events of a process, and what many of them cost.

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/contract"
)

func TestSpawnedComesFirstAndExitedOnceAndLast(t *testing.T) {
	for _, c := range []struct {
		script string
		want   Exited
		text   string
	}{
		{"exit 0", Exited{}, "exit status 0"},
		{"exit 3", Exited{Code: 3}, "exit status 3"},
		{"exit 255", Exited{Code: 255}, "exit status 255"},
		{"kill -KILL $$", Exited{Signal: 9}, "signal 9 (killed)"},
		{"kill -TERM $$", Exited{Signal: 15}, "signal 15 (terminated)"},
	} {
		events := start(t, command("sh", "-c", c.script)).all(t)
		if !slices.Equal(events, []Event{Spawned{}, c.want}) {
			t.Errorf("%s gives %#v", c.script, events)
		}
		if c.want.String() != c.text {
			t.Errorf("%#v says %q, want %q", c.want, c.want.String(), c.text)
		}
	}
}

func TestAWorkerKilledInItsExecStageHasEnded(t *testing.T) {
	noLeak(t, func(t *testing.T) {
		for range 10 {
			p := start(t, command("sleep", "60"))
			p.Kill()
			if events := p.all(t); !slices.Equal(events, []Event{Spawned{}, Exited{Signal: 9}}) {
				t.Errorf("the events are %#v", events)
			}
		}
	})
}

// The exec stage is a Go program, which ignores a USR1 and answers a QUIT with a stack trace; the command is neither.
func TestASignalInTheExecStageReachesTheCommand(t *testing.T) {
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGQUIT, unix.SIGUSR1, unix.SIGINT} {
		// The stage tries the paths to the data and waits at this one.
		fifo := temp(t) + "/fifo"
		if err := unix.Mkfifo(fifo, 0o600); err != nil {
			t.Fatal(err)
		}
		spec := command("sleep", "60")
		spec.Plan.Data = []contract.Dataset{{Name: "d"}}
		spec.Data = []DataFile{{FD: file(t, temp(t)+"/data", ""), Paths: []string{fifo}}}
		p := start(t, spec)
		eventually(t, "the stage waits", func() bool { return opening(p.PID) })
		p.Signal(sig)
		write(t, 0o600, fifo, "")
		if events := p.all(t); !slices.Equal(events, []Event{Spawned{}, Exited{Signal: int(sig)}}) {
			t.Errorf("after %v the events are %#v; the log: %s", sig, events, p.log)
		}
	}
}

// opening tells whether a thread of a process is in open(2).
func opening(pid int) bool {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid))
	return slices.ContainsFunc(files, func(file string) bool {
		text, _ := os.ReadFile(file)
		return strings.HasPrefix(string(text), fmt.Sprintf("%d ", unix.SYS_OPENAT))
	})
}

// A process is its command when it says so: /proc shows no exec stage any more.
func TestSpawnedMeansThatProcShowsTheCommand(t *testing.T) {
	for range 20 {
		p := spawned(t, command("sleep", "60"))
		if line := list(t, p.PID, "cmdline"); !slices.Equal(line, []string{"sleep", "60"}) {
			t.Fatalf("the command line is %q", line)
		}
		p.Kill()
	}
}

func TestManyAtOnceAreAllReapedAndNeedNoThreadEach(t *testing.T) {
	noLeak(t, func(t *testing.T) {
		threads := count(t, "/proc/self/task/*")
		var all []*worker
		for range 64 {
			all = append(all, start(t, command("sleep", "60")))
		}
		for _, p := range all {
			if e := p.next(t); e != (Spawned{}) {
				t.Fatalf("the first event is %#v", e)
			}
		}
		if now := count(t, "/proc/self/task/*"); now > threads+16 {
			t.Errorf("%d threads before, %d with 64 workers", threads, now)
		}
		for _, p := range all {
			p.Signal(unix.SIGTERM)
		}
		for _, p := range all {
			if events := p.all(t); !slices.Equal(events, []Event{Exited{Signal: 15}}) {
				t.Errorf("the events are %#v", events)
			}
		}
	})
}

func TestTwoHundredStartsLeaveNothing(t *testing.T) {
	before, threads := 0, 0
	for i := range 10 {
		t.Run("", func(t *testing.T) {
			noLeak(t, func(t *testing.T) {
				var all []*worker
				for range 20 {
					all = append(all, start(t, command("true")))
				}
				for _, p := range all {
					wait(t, p.Gone())
				}
			})
		})
		if i == 0 {
			before, threads = runtime.NumGoroutine(), count(t, "/proc/self/task/*")
		}
	}
	eventually(t, "no goroutine is left over", func() bool { return runtime.NumGoroutine() <= before })
	if now := count(t, "/proc/self/task/*"); now > threads+4 {
		t.Errorf("%d threads after 20 starts, %d after 200", threads, now)
	}
}

func count(t *testing.T, pattern string) int {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatal(pattern, err)
	}
	return len(files)
}
