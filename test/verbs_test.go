// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: the verbs as a user types them, with their exit codes; an instance whose run dir cannot be written warns once and
// runs on; a name that is taken is an error when it was given, and gives way when it is the default.

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/preforkd/preforkd/supervisor"
)

func TestTheVerbsDoWhatTheySay(t *testing.T) {
	f := start(t, spec{
		flags: []string{"-w", "3", "-l", "127.0.0.1:0", "-d", "blob=" + sparse(t, mib)}, command: []string{python(t, nil), script(t, "stdlib.py")},
	})
	first := f.settled(3)

	if text := f.must("restart", "0", "2"); text != "2 workers replaced" {
		t.Errorf("restart 0 2 said %q", text)
	}
	snap := f.settled(3)
	for _, w := range snap.Workers {
		if changed := *w.PID != *first.Workers[w.ID].PID; changed != (w.ID != 1) {
			t.Errorf("worker %d: pid %d before restart 0 2, %d after", w.ID, *first.Workers[w.ID].PID, *w.PID)
		}
	}
	if text := f.must("restart"); text != "3 workers replaced" {
		t.Errorf("restart said %q", text)
	}
	if text := f.must("reload"); !strings.Contains(text, "3 workers replaced") || !strings.Contains(text, "blob has not changed, it stays at version 1") {
		t.Errorf("reload said %q", text)
	}
	if text := f.must("scale", "2"); text != "2 workers are ready" {
		t.Errorf("scale 2 said %q", text)
	}
	if stdout, _, code := f.verb("status"); code != 0 || !strings.Contains(stdout, "blob") || !strings.Contains(stdout, "ready") {
		t.Errorf("status: exit code %d\n%s", code, stdout)
	}
	stdout, _, code := f.verb("status", "--json")
	if err := json.Unmarshal([]byte(stdout), new(supervisor.Snapshot)); code != 0 || err != nil {
		t.Errorf("status --json: exit code %d, %v", code, err)
	}

	for _, c := range []struct {
		words []string
		code  int
		says  string
	}{
		{[]string{"reload", "nothing"}, 2, `"nothing"`},
		{[]string{"restart", "7"}, 2, "cannot restart worker 7"},
		{[]string{"restart", "one"}, 2, `"one"`},
		{[]string{"scale"}, 2, "scale"},
		{[]string{"scale", "0"}, 2, "0"},
		{[]string{"scale", "2", "3"}, 2, "give the number of workers"},
		{[]string{"stop", "now"}, 2, "now"},
		{[]string{"status", "--wrong"}, 2, "--wrong"},
	} {
		stdout, stderr, code := f.verb(c.words[0], c.words[1:]...)
		if code != c.code || !strings.Contains(stderr, c.says) || stdout != "" {
			t.Errorf("preforkd %q: exit code %d, want %d and %q\n%s%s", c.words, code, c.code, c.says, stdout, stderr)
		}
	}
	nobody := filepath.Join(f.dir, "nobody")
	for _, word := range []string{"reload", "restart", "stop", "status"} {
		if _, stderr, code := f.command(word, "--run-dir", nobody); code != 5 || !strings.Contains(stderr, nobody) {
			t.Errorf("%s where no instance is: exit code %d: %s", word, code, stderr)
		}
	}
	if len(ready(f.settled(2))) != 2 {
		t.Error("the refused orders have changed the fleet")
	}

	// stop returns when the instance is gone.
	f.must("stop")
	if _, stderr, code := f.verb("status"); code != 5 {
		t.Errorf("status after stop: exit code %d: %s", code, stderr)
	}
	f.exits(0)
}

func TestCheckTellsWhatRunWouldRefuse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	f := &fleet{t: t, dir: place(t)}
	check := func(args ...string) (stdout, stderr string, code int) {
		return f.command(slices.Concat([]string{"check", "--run-dir", filepath.Join(f.dir, "run"), "--stats", "off"}, args)...)
	}
	blob := sparse(t, 3*mib)
	if stdout, stderr, code := check("-w", "2", "-d", "blob="+blob, "-l", "127.0.0.1:0", "--", "sleep", "1"); code != 0 ||
		!strings.Contains(stdout, "would run") || !strings.Contains(stdout, "3.0 MiB") || stderr != "" {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--workers", "many", "--", "sleep", "1"}, 2, "--workers"},
		{[]string{"--", "no-such-command"}, 1, "no-such-command"},
		{[]string{"-d", "blob=./no-such-file", "--", "sleep", "1"}, 3, "no-such-file"},
		{[]string{"-l", taken.Addr().String(), "--", "sleep", "1"}, 4, taken.Addr().String()},
	} {
		stdout, stderr, code := check(c.args...)
		if code != c.code || !strings.Contains(stderr, c.says) {
			t.Errorf("check %q: exit code %d, want %d and %q\n%s%s", c.args, code, c.code, c.says, stdout, stderr)
		}
	}
	if left, err := os.ReadDir(f.dir); err != nil || len(left) > 0 {
		t.Errorf("check has left %v, %v", left, err)
	}
}

func TestAReadOnlyRunDirIsWarnedOfOnce(t *testing.T) {
	asRoot(t)
	dir, address := place(t), freeAddress(t)
	mounted := filepath.Join(dir, "ro")
	if err := os.Mkdir(mounted, 0o755); err != nil {
		t.Fatal(err)
	}
	f := start(t, spec{
		dir: dir, through: []string{tool(t, "unshare"), "--mount", "/bin/sh", "-c", `mount -t tmpfs -o ro none "$0" && exec "$@"`, mounted},
		flags: []string{
			"--run-dir", filepath.Join(mounted, "run"), "-w", "2", "-l", "127.0.0.1:0", "--stats", address, "-d", "blob=" + sparse(t, mib),
		},
		command: []string{python(t, nil), script(t, "stdlib.py")},
	})
	var snap supervisor.Snapshot
	within(t, patience, "two ready workers", func() bool {
		body, err := get(address + "/stats")
		return err == nil && json.Unmarshal([]byte(body), &snap) == nil && len(ready(&snap)) == 2
	})
	if body, err := get(snap.Listen[0].Address); err != nil {
		t.Errorf("answer %q, %v", body, err)
	}
	var warnings []string
	for line := range strings.Lines(f.output()) {
		if strings.Contains(line, `"level":"WARN"`) || strings.Contains(line, `"level":"ERROR"`) {
			warnings = append(warnings, line)
		}
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "read-only file system") || !strings.Contains(warnings[0], mounted) {
		t.Errorf("warnings: %q, want one that names the read-only file system", warnings)
	}
	f.stop()
}

func TestATakenNameIsAnErrorWhenItWasGivenAndGivesWayWhenNot(t *testing.T) {
	base := "/run/preforkd"
	env := []string{}
	if os.Geteuid() != 0 {
		runtime, err := os.MkdirTemp("", "e2e") //nolint:usetesting // a short path: control sockets are in it
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(runtime)
		base, env = filepath.Join(runtime, "preforkd"), []string{"XDG_RUNTIME_DIR=" + runtime}
	}
	name := fmt.Sprint("e2e-", os.Getpid())
	named := spec{
		run: filepath.Join(base, name), env: env, flags: []string{"--name", name, "-w", "1", "--ready", "alive:10ms"}, command: sleeper,
	}
	one := start(t, named)
	one.untilReady(1)
	two := start(t, named)
	two.run = filepath.Join(two.dir, "run") // what is in the other place is not its own
	two.exits(2)
	if want := fmt.Sprintf("cannot start instance %q: process %d runs in", name, one.pid); !strings.Contains(two.output(), want) {
		t.Errorf("the second one said %q, want %q", two.output(), want)
	}
	one.stop()

	// Another default instance may run on this machine: then ours give way twice.
	unnamed := spec{run: base, env: env, flags: []string{"-w", "1", "--ready", "alive:10ms"}, command: sleeper}
	names := []string{}
	var fleets []*fleet
	for range 2 {
		f := start(t, unnamed)
		fleets = append(fleets, f)
		within(t, patience, "a ready worker", func() bool { return len(f.logged("worker ready")) > 0 })
		entries, err := filepath.Glob(filepath.Join(base, "default*", "control.sock"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range entries {
			f.run = filepath.Dir(path)
			if snap, err := f.snapshot(); err == nil && snap.Supervisor.PID == f.pid {
				names = append(names, snap.Supervisor.Name)
				break
			}
		}
		if warned := strings.Contains(f.output(), `"level":"WARN"`); len(names) > 0 && warned != (names[len(names)-1] != "default") {
			t.Errorf("instance %q has warned: %t\n%s", names[len(names)-1], warned, f.output())
		}
	}
	if len(names) != 2 || names[0] == names[1] || !strings.HasPrefix(names[1], "default-") {
		t.Errorf("two instances without a name are called %q", names)
	}
	for _, f := range fleets {
		f.stop()
	}
}
