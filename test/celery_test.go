// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: a Celery worker with a pool of processes, stopped in the middle of its work, finishes every task that it has begun,
// gives back what it has only fetched, and leaves no process. Started again it does the rest: nothing is lost, nothing done
// twice.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/preforkd/preforkd/internal/host"
)

func TestACeleryPoolLosesNoTaskOnStop(t *testing.T) {
	const tasks, pool = 60, 4
	dir := place(t)
	if err := os.Mkdir(filepath.Join(dir, "queue"), 0o755); err != nil {
		t.Fatal(err)
	}
	path := "PYTHONPATH=" + script(t, ".")
	send := exec.Command(venv(t, "python"), "-c", fmt.Sprintf("import tasks\nfor n in range(%d): tasks.work.delay(n)", tasks))
	send.Dir, send.Env = dir, append(os.Environ(), path)
	celery := spec{
		dir: dir, env: []string{path},
		flags: []string{"-w", "1"},
		command: []string{
			venv(t, "celery"), "-A", "tasks", "worker", "--concurrency", fmt.Sprint(pool), "--hostname", "worker{worker}@%h",
			"--without-gossip", "--without-mingle", "--without-heartbeat",
		},
	}
	if out, err := send.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	f := start(t, celery)
	snap := f.untilReady(1)
	within(t, patience, "work under way", func() bool { _, ended := journal(t, dir); return len(ended) >= tasks/6 })
	if tree := host.Tree("/proc", *snap.Workers[0].PID); len(tree) <= pool {
		t.Fatalf("there is no pool: %v", tree)
	}
	f.stop()
	started, ended := journal(t, dir)
	if len(started) == tasks {
		t.Fatal("all was done before the stop: the test shows nothing")
	}
	once(t, "ended", ended, len(started))
	t.Logf("%d of %d tasks were done when it was stopped", len(ended), tasks)

	f = start(t, celery)
	within(t, patience, "all tasks are done", func() bool { _, ended := journal(t, dir); return len(ended) >= tasks })
	f.stop()
	started, ended = journal(t, dir)
	once(t, "started", started, tasks)
	once(t, "ended", ended, tasks)
}

// journal reads what the tasks have noted: how often each was started and ended.
func journal(t *testing.T, dir string) (started, ended map[string]int) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "journal"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	started, ended = map[string]int{}, map[string]int{}
	for line := range strings.Lines(string(text)) {
		what, n, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch what {
		case "start":
			started[n]++
		case "end":
			ended[n]++
		}
	}
	return started, ended
}

func once(t *testing.T, what string, counts map[string]int, want int) {
	t.Helper()
	for n, count := range counts {
		if count != 1 {
			t.Errorf("task %s has %s %d times", n, what, count)
		}
	}
	if len(counts) != want {
		t.Errorf("%d tasks have %s, want %d", len(counts), what, want)
	}
}
