// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

// The command line, as a user meets it: each file in testdata/script runs the real program. A script's own commands are
//
//	exits CODE preforkd ARG…   runs it and checks the exit code; stdout and stderr are then there to be matched
//	starts NAME preforkd ARG…  runs it beside the script and waits until it has a ready worker
//	ends NAME SIGNAL CODE      signals it, waits for it and checks the exit code
//	kills NAME                 kill -9, and waits until nothing of it is left
//	clean                      nothing that this script started lives, nothing is left in /dev/shm and the run dir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/api"
	"github.com/preforkd/preforkd/supervisor"
)

func TestMain(m *testing.M) {
	supervisor.Stage()
	testscript.Main(m, map[string]func(){
		"preforkd": func() { os.Exit(dispatch(os.Args[1:], os.Stdout, os.Stderr)) },
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			// A mark in the environment, which every process that a script starts inherits.
			env.Setenv("PREFORKD_SCRIPT", env.WorkDir)
			env.Setenv("GORACE", "atexit_sleep_ms=0") // a program built with -race would sleep a second at its end
			env.Setenv("RUN", filepath.Join(env.WorkDir, "run"))
			free, err := freePort()
			if err != nil {
				return err
			}
			env.Setenv("PORT", free)
			if env.Values["fleets"], err = newFleets(), nil; os.Geteuid() == 0 {
				// A work dir of another user's tests would be closed to dropped workers.
				err = os.Chmod(env.WorkDir, 0o755)
			}
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":  cmdExits,
			"starts": cmdStarts,
			"ends":   cmdEnds,
			"kills":  cmdKills,
			"clean":  cmdClean,
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "root":
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
	})
}

// fleets are the instances that a script runs beside itself.
type fleets struct {
	all map[string]*fleet
}

type fleet struct {
	cmd    *exec.Cmd
	output *bytes.Buffer
	done   chan struct{} // closed after Wait
}

func newFleets() *fleets { return &fleets{all: map[string]*fleet{}} }

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ARG…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func cmdStarts(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: starts NAME COMMAND ARG…")
	}
	program := filepath.Join(strings.Split(ts.Getenv("PATH"), ":")[0], args[1])
	f := &fleet{cmd: exec.Command(program, args[2:]...), output: new(bytes.Buffer), done: make(chan struct{})}
	f.cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "PREFORKD_SCRIPT", "RUN", "PORT"} {
		f.cmd.Env = append(f.cmd.Env, name+"="+ts.Getenv(name))
	}
	f.cmd.Stdout, f.cmd.Stderr = f.output, f.output
	ts.Check(f.cmd.Start())
	go func() { f.cmd.Wait(); close(f.done) }()
	ts.Value("fleets").(*fleets).all[args[0]] = f
	ts.Defer(func() {
		f.cmd.Process.Kill()
		<-f.done
	})
	control := filepath.Join(ts.Getenv("RUN"), "control.sock")
	until(ts, "a ready worker", func() bool {
		select {
		case <-f.done:
			ts.Fatalf("%s ended:\n%s", args[0], f.output)
		default:
		}
		snap, _, err := api.Dial(control).Stats(context.Background())
		if err != nil {
			return false
		}
		for _, w := range snap.Workers {
			if w.Status != supervisor.StatusReady {
				return false
			}
		}
		return snap.Supervisor.PID == f.cmd.Process.Pid
	})
}

func cmdEnds(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: ends NAME SIGNAL CODE")
	}
	f := ts.Value("fleets").(*fleets).all[args[0]]
	if args[1] != "none" {
		ts.Check(f.cmd.Process.Signal(unix.SignalNum("SIG" + args[1])))
	}
	select {
	case <-f.done:
	case <-time.After(30 * time.Second):
		ts.Fatalf("%s did not end:\n%s", args[0], f.output)
	}
	ts.Logf("%s", f.output)
	if got := f.cmd.ProcessState.ExitCode(); strconv.Itoa(got) != args[2] {
		ts.Fatalf("exit code %d, want %s", got, args[2])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".log"), f.output.Bytes(), 0o644))
}

func cmdKills(ts *testscript.TestScript, neg bool, args []string) {
	f := ts.Value("fleets").(*fleets).all[args[0]]
	ts.Check(f.cmd.Process.Signal(syscall.SIGKILL))
	<-f.done
	until(ts, "no process left", func() bool { return len(marked(ts)) == 0 })
}

func cmdClean(ts *testscript.TestScript, neg bool, args []string) {
	var left []string
	// Orphans that were just killed may take a moment to go.
	until(ts, "no process left", func() bool {
		left = marked(ts)
		return len(left) == 0
	})
	if entries, err := os.ReadDir(ts.Getenv("RUN")); err == nil && len(entries) > 0 {
		ts.Fatalf("left in the run dir: %v", entries)
	}
	entries, err := os.ReadDir("/dev/shm")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		ts.Check(err)
	}
	for _, entry := range entries {
		if strings.Contains(entry.Name(), "preforkd") {
			ts.Fatalf("left in /dev/shm: %s", entry.Name())
		}
	}
}

// marked lists the live processes that carry the script's mark.
func marked(ts *testscript.TestScript) []string {
	mark := []byte("PREFORKD_SCRIPT=" + ts.Getenv("PREFORKD_SCRIPT") + "\x00")
	var found []string
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	ts.Check(err)
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil && bytes.Contains(text, mark) {
			found = append(found, filepath.Base(filepath.Dir(file)))
		}
	}
	return found
}

// until polls for a fact.
func until(ts *testscript.TestScript, what string, fact func() bool) {
	deadline := time.Now().Add(30 * time.Second)
	for !fact() {
		if time.Now().After(deadline) {
			ts.Fatalf("not in time: %s (processes left: %v)", what, marked(ts))
		}
		poll := time.NewTimer(20 * time.Millisecond)
		<-poll.C
	}
}
