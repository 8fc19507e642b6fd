// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: a new release that cannot be imported, and data that cannot be loaded, never reach the clients. With the default
// flags the reload is refused with the reason, and the processes that served before serve on.

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/preforkd/preforkd/supervisor"
)

func TestABrokenReleaseIsRefusedAndTheOldOneServesOn(t *testing.T) {
	for _, w := range webservers() {
		if w.name != "gunicorn-sync" && w.name != "uvicorn" {
			continue
		}
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			f, l := w.start(t, 2)
			l.clients, l.pace = 2, 20*time.Millisecond
			stop := l.start(t)
			before := mainPIDs(f.settled(2))
			broken := filepath.Join(f.dir, "broken")
			if err := os.WriteFile(broken, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			stdout, stderr, code := f.verb("reload")
			t.Logf("refused after %v, exit code %d:\n%s%s", time.Since(begin).Round(time.Millisecond), code, stdout, stderr)
			if code != 1 || !strings.Contains(stderr, "cannot reload") ||
				!strings.Contains(stderr, "ModuleNotFoundError: No module named 'a_module_that_the_new_release_forgot'") {
				t.Errorf("exit code %d, want 1 and the worker's last words", code)
			}
			f.servesOn(t, before, "a_module_that_the_new_release_forgot")

			// The next release is good again.
			if err := os.Remove(broken); err != nil {
				t.Fatal(err)
			}
			f.must("reload")
			if after := mainPIDs(f.settled(2)); slices.ContainsFunc(after, func(pid int) bool { return slices.Contains(before, pid) }) {
				t.Errorf("workers %v before, %v after a good reload", before, after)
			}
			result := stop()
			t.Log(result)
			result.nothingLost(t)
			f.stop()
		})
	}
}

// servesOn checks that a reload has failed for this reason and changed nothing.
func (f *fleet) servesOn(t *testing.T, before []int, reason string) {
	t.Helper()
	snap := f.settled(len(before))
	if after := mainPIDs(snap); !slices.Equal(before, after) {
		t.Errorf("workers %v before, %v after", before, after)
	}
	last := snap.Supervisor.LastReload
	if last == nil || last.Result != supervisor.ReloadFailed || !strings.Contains(last.Error, reason) {
		t.Errorf("last reload: %+v, want a failure that says %q", last, reason)
	}
	if got := f.metric(`preforkd_reloads_total{result="failed"}`); got < 1 {
		t.Errorf("%v reloads have failed by the metrics", got)
	}
	if stdout, stderr, code := f.verb("status"); code != 0 || !strings.Contains(stdout, reason) {
		t.Errorf("status does not say %q (exit code %d):\n%s%s", reason, code, stdout, stderr)
	}
}

func TestDataThatCannotBeLoadedIsRefusedAndTheOldVersionServesOn(t *testing.T) {
	dir := place(t)
	path := filepath.Join(dir, "blob.bin")
	write := func(text string) {
		t.Helper()
		if err := errors.Join(os.WriteFile(path+".new", []byte(text), 0o644), os.Rename(path+".new", path)); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	f := start(t, spec{
		dir: dir, flags: []string{"-w", "2", "-l", "127.0.0.1:0", "-d", "blob=blob.bin"}, command: []string{python(t, nil), script(t, "stdlib.py")},
	})
	first := f.settled(2)
	before := mainPIDs(first)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	_, stderr, code := f.verb("reload")
	if code != 3 || !strings.Contains(stderr, `cannot load dataset "blob": blob.bin: no such file or directory`) {
		t.Errorf("exit code %d, want 3: %s", code, stderr)
	}
	f.servesOn(t, before, `"blob"`)
	if body, err := get(first.Listen[0].Address); err != nil {
		t.Errorf("answer %q, %v", body, err)
	}

	write("two")
	if text := f.must("reload", "blob"); !strings.Contains(text, "blob is now version 2") {
		t.Errorf("reload said %q", text)
	}
	snap := f.settled(2)
	if len(snap.Data) != 1 || snap.Data[0].Version != 2 || *snap.Data[0].Size != 3 || snap.Data[0].Workers != 2 {
		t.Errorf("data: %+v, want version 2 alone", snap.Data)
	}
	links, err := os.ReadDir(filepath.Join(f.run, "data"))
	if err != nil || fmt.Sprint(links) != "[L blob.bin L blob.v2.bin]" {
		t.Errorf("links: %v, %v", links, err)
	}
	now := mainPIDs(snap)
	if text := f.must("reload", "blob"); !strings.Contains(text, "no worker replaced") {
		t.Errorf("reload of unchanged data said %q", text)
	}
	if after := mainPIDs(f.settled(2)); !slices.Equal(now, after) {
		t.Errorf("workers %v before, %v after a reload of unchanged data", now, after)
	}
	f.stop()
}
