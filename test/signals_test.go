// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: HUP reloads, with the configuration file read again; a file that got broken changes nothing; USR1 opens the log file
// anew; USR2 says "not yet" and does nothing.

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/preforkd/preforkd/supervisor"
)

func TestHUPTakesUpTheConfigurationFileAndKeepsTheFleetWhenItIsBroken(t *testing.T) {
	dir := place(t)
	path := filepath.Join(dir, "preforkd.toml")
	write := func(text string) {
		t.Helper()
		if err := errors.Join(os.WriteFile(path+".new", []byte(text), 0o644), os.Rename(path+".new", path)); err != nil {
			t.Fatal(err)
		}
	}
	config := func(workers int, script, release string) string {
		return fmt.Sprintf("workers = %d\nlisten = \"127.0.0.1:0\"\ncommand = [%q, %q]\n\n[env]\nRELEASE = %q\n",
			workers, python(t, nil), script, release)
	}
	write(config(2, script(t, "stdlib.py"), "one"))
	f := start(t, spec{dir: dir, through: []string{tool(t, "setsid")}, flags: []string{"--config", "preforkd.toml"}})
	snap := f.settled(2)
	address := snap.Listen[0].Address
	says := func(want string) {
		t.Helper()
		if body, err := get(address); err != nil || !strings.HasSuffix(strings.TrimSpace(body), want) {
			t.Errorf("answer %q, %v, want %q", body, err, want)
		}
	}
	says("release one")
	reloaded := 0
	hangUp := func() *supervisor.Snapshot {
		t.Helper()
		f.signal(syscall.SIGHUP)
		reloaded++
		within(t, patience, "the reload is over", func() bool {
			ended := f.metric(`preforkd_reloads_total{result="done"}`) + f.metric(`preforkd_reloads_total{result="failed"}`)
			return int(ended) == reloaded
		})
		snap, err := f.snapshot()
		if err != nil {
			t.Fatal(err)
		}
		return snap
	}

	// More workers, another command, another environment.
	before := mainPIDs(snap)
	write(config(3, script(t, "stdlib2.py"), "two"))
	snap = hangUp()
	if len(ready(snap)) != 3 || slices.ContainsFunc(mainPIDs(snap), func(pid int) bool { return slices.Contains(before, pid) }) {
		t.Errorf("workers %v before, %v after", before, mainPIDs(snap))
	}
	says("release two of the second program")

	// What cannot be read, and what cannot be changed without a restart.
	before = mainPIDs(snap)
	for text, want := range map[string]string{
		config(3, script(t, "stdlib.py"), "three") + "wrokers = 4\n": `wrokers`,
		"workers = \"many\"\n": `cannot use preforkd.toml:1:11: workers = "many"`,
		strings.Replace(config(3, script(t, "stdlib.py"), "three"), "127.0.0.1", "127.0.0.2", 1): "listen",
	} {
		write(text)
		last := hangUp().Supervisor.LastReload
		if last == nil || last.Result != supervisor.ReloadFailed || !strings.Contains(last.Error, want) {
			t.Errorf("last reload: %+v, want a failure that names %s", last, want)
		}
		if now := mainPIDs(f.settled(3)); !slices.Equal(now, before) {
			t.Errorf("workers %v before, %v after a refused reload", before, now)
		}
		if stdout, _, code := f.verb("status"); code != 0 || !strings.Contains(stdout, want) {
			t.Errorf("status does not say %q:\n%s", want, stdout)
		}
		says("release two of the second program")
	}

	// Fewer again, with the first program.
	write(config(1, script(t, "stdlib.py"), "four"))
	if snap = hangUp(); len(snap.Workers) != 1 || len(ready(snap)) != 1 {
		t.Errorf("workers %+v, want one", snap.Workers)
	}
	says("release four")
	f.stop()
}

func TestUSR1OpensTheLogFileAnewAndUSR2SaysNotYet(t *testing.T) {
	dir := place(t)
	path := filepath.Join(dir, "preforkd.log")
	f := start(t, spec{
		dir: dir, through: []string{tool(t, "setsid")}, flags: []string{"-w", "1", "--ready", "alive:10ms", "--log-file", path}, command: sleeper,
	})
	before := f.settled(1)
	reads := func(path string) string {
		t.Helper()
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if !strings.Contains(reads(path), "worker ready") {
		t.Errorf("the log file has: %s", reads(path))
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	f.signal(syscall.SIGUSR1)
	within(t, patience, "a new log file", func() bool { _, err := os.Stat(path); return err == nil })
	old := reads(path + ".1")
	f.signal(syscall.SIGUSR2)
	within(t, patience, "USR2 is answered in the new file", func() bool { return strings.Contains(reads(path), "cannot upgrade in place yet") })
	if now := reads(path + ".1"); now != old {
		t.Errorf("the old file was written to: %s", strings.TrimPrefix(now, old))
	}
	if after := mainPIDs(f.settled(1)); !slices.Equal(after, mainPIDs(before)) {
		t.Errorf("workers %v before, %v after", mainPIDs(before), after)
	}
	f.stop()
	if out := f.output(); out != "" {
		t.Errorf("written to standard error beside the log file: %s", out)
	}
	if !strings.Contains(reads(path), `"msg":"worker ended"`) {
		t.Errorf("the end is not in the log file: %s", reads(path))
	}
}
