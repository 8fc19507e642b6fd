// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: the example of a queue's consumer loses no job and does none twice, in rolling reloads, in data reloads and in a stop in
// the middle of its work, and loses none when its workers are killed; and the example with joblib answers every request from one
// version of the data, whatever is reloaded, and leaves no process of its pools.

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/preforkd/preforkd/supervisor"
)

const pythonJobs = 100 // rows of the data that jobs are about

// saveVersion puts an array of float32 in place at path: row i of a version is 4 × (1000 × version + i).
func saveVersion(t *testing.T, path string, version int) {
	t.Helper()
	cmd := exec.Command(venv(t, "python"), "-c", fmt.Sprintf(`
import numpy, os, sys
rows = numpy.repeat(%d * 1000 + numpy.arange(%d, dtype="<f4"), 4).reshape(-1, 4)
numpy.save(sys.argv[1] + ".new.npy", rows)
os.rename(sys.argv[1] + ".new.npy", sys.argv[1])
`, version, pythonJobs), path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// example is the command of an example's README, for this machine: its flags, and the worker's command.
func example(t *testing.T, name string) (flags, command []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../examples/python", name, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		end := slices.Index(words, "--")
		if !strings.HasPrefix(line, "    preforkd -w ") || end < 0 || !slices.Equal(words[end:], []string{"--", "python", "app.py"}) {
			continue
		}
		for i, word := range words {
			if word == ":8000" {
				words[i] = "127.0.0.1:0"
			}
		}
		return words[1:end], []string{venv(t, "python"), script(t, filepath.Join("../../examples/python", name, "app.py"))}
	}
	t.Fatalf("the README of %s has no command", name)
	return nil, nil
}

// spool is the folder of the example's jobs.
type spool struct {
	t    *testing.T
	dir  string
	mu   sync.Mutex
	sent []string
}

// feed puts jobs in until the returned function is called, one every few milliseconds.
func (s *spool) feed() (stop func()) {
	s.t.Helper()
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		pace := time.NewTicker(10 * time.Millisecond)
		defer pace.Stop()
		for {
			select {
			case <-done:
				return
			case <-pace.C:
				s.put()
			}
		}
	}()
	stop = sync.OnceFunc(func() { close(done); <-ended })
	s.t.Cleanup(stop)
	return stop
}

// put adds a job, as README.md says: written beside its place, and renamed.
func (s *spool) put() {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.sent)
	name := fmt.Sprintf("%06d.json", n)
	beside, place := filepath.Join(s.dir, "new", "."+name), filepath.Join(s.dir, "new", name)
	text := fmt.Sprintf(`{"row": %d, "takes": 0.01}`, n%pythonJobs)
	if err := errors.Join(os.WriteFile(beside, []byte(text), 0o644), os.Rename(beside, place)); err != nil {
		s.t.Error(err)
	}
	s.sent = append(s.sent, name)
}

func (s *spool) names(folder string) (names []string) {
	s.t.Helper()
	list, err := os.ReadDir(filepath.Join(s.dir, folder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.t.Fatal(err)
	}
	for _, entry := range list {
		names = append(names, entry.Name())
	}
	return names
}

// right checks every result against the data of the version that it names, and returns how many there are of each version.
func (s *spool) right() (versions map[int]int) {
	s.t.Helper()
	versions = map[int]int{}
	for _, name := range s.names("done") {
		var n int
		var result struct {
			Version, Row int
			Sum          float64
		}
		text, err := os.ReadFile(filepath.Join(s.dir, "done", name))
		if err == nil {
			err = json.Unmarshal(text, &result)
		}
		_, malformed := fmt.Sscanf(name, "%d.json", &n)
		if err = errors.Join(err, malformed); err != nil || result.Row != n%pythonJobs ||
			result.Sum != float64(4*(1000*result.Version+result.Row)) {
			s.t.Errorf("job %s: %s, %v", name, text, err)
		}
		versions[result.Version]++
	}
	return versions
}

// consumers starts the example, by the command of its README.
func consumers(t *testing.T, dir string, n int) (*fleet, *spool) {
	t.Helper()
	s := &spool{t: t, dir: filepath.Join(dir, "spool")}
	if err := os.MkdirAll(filepath.Join(s.dir, "new"), 0o755); err != nil {
		t.Fatal(err)
	}
	flags, command := example(t, "queue")
	f := start(t, spec{dir: dir, env: []string{client(t)}, flags: flags, command: command})
	f.untilReady(n)
	return f, s
}

func TestAPythonQueueLosesNoJobInReloadsAndStops(t *testing.T) {
	const n = 3
	dir := place(t)
	emb := filepath.Join(dir, "emb.npy")
	saveVersion(t, emb, 1)
	f, jobs := consumers(t, dir, n)
	stop := jobs.feed()
	progress := func(what string) {
		t.Helper()
		before := len(jobs.names("done"))
		within(t, patience, "jobs done "+what, func() bool { return len(jobs.names("done")) > before+20 })
	}
	progress("at first")
	for version := 2; version <= 4; version++ {
		before := f.settled(n)
		f.must("reload")
		replacedAll(t, before, f.settled(n))
		progress("after a rolling reload")
		before = f.settled(n)
		saveVersion(t, emb, version)
		want := fmt.Sprintf("no worker replaced, %d took the new data in place; emb is now version %d", n, version)
		if text := f.must("reload", "emb"); !strings.HasPrefix(text, want) {
			t.Errorf("reload said %q", text)
		}
		if !slices.Equal(mainPIDs(before), mainPIDs(f.settled(n))) {
			t.Error("a data reload has replaced workers")
		}
		progress("after a data reload")
	}
	f.stop() // with jobs waiting, and one in each worker's hand
	stop()
	done, waiting := jobs.names("done"), jobs.names("new")
	t.Logf("%d jobs sent, %d done when it was stopped, %d waiting: by version %v", len(jobs.sent), len(done), len(waiting), jobs.right())
	if all := slices.Sorted(slices.Values(slices.Concat(done, waiting))); !slices.Equal(all, jobs.sent) {
		t.Errorf("%d jobs were sent, %d are done or wait", len(jobs.sent), len(all))
	}

	saveVersion(t, emb, 1) // versions count from 1 again
	f, again := consumers(t, dir, n)
	again.sent = jobs.sent
	within(t, patience, "all jobs done", func() bool { return len(again.names("done")) == len(again.sent) && len(again.names("new")) == 0 })
	f.until("the count of the jobs", func(s *supervisor.Snapshot) bool {
		var sum int64
		for _, w := range s.Workers {
			if w.Requests != nil {
				sum += *w.Requests
			}
		}
		return sum == int64(len(waiting))
	})
	f.stop()
	if got := again.right(); len(got) != 4 {
		t.Errorf("results by version: %v, want of each", got)
	}
}

func TestAPythonQueueLosesNoJobWhenItsWorkersAreKilled(t *testing.T) {
	const n = 3
	dir := place(t)
	saveVersion(t, filepath.Join(dir, "emb.npy"), 1)
	f, jobs := consumers(t, dir, n)
	stop := jobs.feed()
	for range 5 {
		before := len(jobs.names("done"))
		within(t, patience, "jobs under way", func() bool { return len(jobs.names("done")) > before+5 })
		victim := mainPIDs(f.settled(n))[0]
		kill(t, victim)
		f.until("the slot is taken again", func(s *supervisor.Snapshot) bool {
			return len(ready(s)) == n && !slices.Contains(mainPIDs(s), victim)
		})
	}
	stop()
	within(t, patience, "all jobs done", func() bool { return len(jobs.names("new")) == 0 })
	f.stop()
	done := slices.DeleteFunc(jobs.names("done"), func(name string) bool { return !strings.HasSuffix(name, ".json") }) // half written by a killed one
	if !slices.Equal(done, jobs.sent) {
		t.Errorf("%d jobs were sent, %d are done", len(jobs.sent), len(done))
	}
}

func TestAPythonServiceWithJoblibAnswersFromOneVersion(t *testing.T) {
	const n = 2
	if exec.Command(venv(t, "python"), "-c", "import joblib").Run() != nil {
		missing(t, "joblib in the virtual environment")
	}
	dir := place(t)
	emb := filepath.Join(dir, "emb.npy")
	saveVersion(t, emb, 1)
	flags, command := example(t, "joblib")
	f := start(t, spec{dir: dir, env: []string{client(t)}, flags: flags, command: command})
	var mu sync.Mutex
	versions := map[int]int{}
	right := func(body string) bool {
		var a struct {
			Worker, Version, Rows int
			Sum                   float64
		}
		if json.Unmarshal([]byte(body), &a) != nil || a.Rows != pythonJobs || a.Sum != float64(4*(100_000*a.Version+4950)) {
			return false
		}
		mu.Lock()
		defer mu.Unlock()
		versions[a.Version]++
		return true
	}
	stop := load{clients: 3, address: f.settled(n).Listen[0].Address, right: right}.start(t)
	for version := 2; version <= 3; version++ {
		before := f.settled(n)
		f.must("reload")
		replacedAll(t, before, f.settled(n))
		before = f.settled(n)
		saveVersion(t, emb, version)
		want := fmt.Sprintf("no worker replaced, %d took the new data in place; emb is now version %d", n, version)
		if text := f.must("reload", "emb"); !strings.HasPrefix(text, want) {
			t.Errorf("reload said %q", text)
		}
		// The pools' processes have gone on to it with their next task.
		after := f.until("the old version is freed", func(s *supervisor.Snapshot) bool { return len(s.Data) == 1 && s.Data[0].Version == version })
		if !slices.Equal(mainPIDs(before), mainPIDs(after)) {
			t.Error("a data reload has replaced workers")
		}
	}
	result := stop()
	t.Logf("%v; by version %v", result, versions)
	result.nothingLost(t)
	if len(versions) != 3 {
		t.Errorf("answers by version: %v, want of each", versions)
	}
	f.stop()
}
