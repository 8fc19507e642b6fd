// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package process

// What the tests share: the thread that forks, workers with everything that came of them, and this binary again as
// another process.

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	helperVar = "PROCESS_TEST_HELPER"
	patience  = 30 * time.Second // for facts that come at once on a machine with nothing else to do
	nobody    = 65534            // a uid that owns nothing
)

// helpers are what this binary can be started as. Those that no test started fail the run.
var (
	helpers = map[string]func() error{
		"deaf":      helpDeaf,
		"limits":    helpLimits,
		"parent":    helpParent,
		"forking":   helpForking,
		"orphans":   helpOrphans,
		"hidden":    helpHidden,
		"same-user": helpSameUser,
		"unstaged":  helpUnstaged,
		"master":    helpMaster,
		"stubborn":  helpStubborn,
	}
	usedHelpers sync.Map
)

func TestMain(m *testing.M) {
	if os.Getenv(helperVar) != "unstaged" {
		Stage()
	}
	if name := os.Getenv(helperVar); name != "" {
		helper := helpers[name]
		if helper == nil {
			helper = func() error { return errors.New("no such helper: " + name) }
		}
		if err := helper(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	// A part of the tests, or the tests as a user who has to skip some, need not use all.
	part := flag.Lookup("test.run").Value.String() + flag.Lookup("test.list").Value.String()
	if code == 0 && part == "" && os.Getuid() == 0 {
		for name := range helpers {
			if _, used := usedHelpers.Load(name); !used {
				fmt.Fprintf(os.Stderr, "no test uses the helper %q\n", name)
				code = 1
			}
		}
	}
	os.Exit(code)
}

// helper is this binary as the process name, with files as its descriptors from 3.
func helper(t *testing.T, name string, files ...*os.File) *exec.Cmd {
	t.Helper()
	usedHelpers.Store(name, true)
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = helperEnv(name)
	cmd.ExtraFiles = files
	return cmd
}

func helperEnv(name string) []string {
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, helperVar+"=") })
	// The race detector would make every process sleep for a second at its end.
	return append(env, helperVar+"="+name, "GORACE=atexit_sleep_ms=0")
}

// output returns what a helper printed; it must end well.
func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	return string(out)
}

// onThread runs f on the one thread of this process that forks: it lives as long as the process does.
func onThread(f func()) {
	done := make(chan struct{})
	forker() <- func() { f(); close(done) }
	<-done
}

var forker = sync.OnceValue(func() chan func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

func wait(t *testing.T, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("waited in vain")
	}
}

// eventually polls until f holds.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !f(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
		<-time.After(time.Millisecond)
	}
}

// temp is a directory that every user can read.
func temp(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; len(d) > len(os.TempDir()); d = filepath.Dir(d) {
		_ = os.Chmod(d, 0o755)
	}
	return dir
}

func write(t *testing.T, mode os.FileMode, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can start a worker as another user")
	}
}

func asNobody(cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return cmd
}

func decode[T any](t *testing.T, text string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}
