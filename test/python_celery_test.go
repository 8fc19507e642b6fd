// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: the Celery example, started as its README says, reads one copy of the data in all processes of all pools; while tasks keep
// coming, a rolling reload, a data reload, a stop and a new start lose none of them and do none of them twice, also when pool
// processes are replaced after some tasks; and a task whose process, or whose whole worker, is killed is done by another.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/preforkd/preforkd/internal/host"
	"github.com/preforkd/preforkd/supervisor"
)

const celeryColumns = 64 // COLUMNS of testdata/celery_journal.py

// celery is one application with its broker and its workers.
type celery struct {
	t      *testing.T
	dir    string
	env    []string
	broker string
}

// newCelery has a broker: redis, or a folder for the filesystem transport.
func newCelery(t *testing.T, broker string, env ...string) *celery {
	t.Helper()
	client, err := filepath.Abs("../clients/python/src")
	if err != nil {
		t.Fatal(err)
	}
	c := &celery{t: t, dir: place(t), broker: broker}
	c.env = append(env, "PYTHONPATH="+strings.Join([]string{client, script(t, "../../examples/python/celery"), script(t, ".")}, ":"), "OPENBLAS_NUM_THREADS=1")
	if broker == "filesystem" {
		folder := filepath.Join(c.dir, "queue")
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		c.env = append(c.env, "CELERY_BROKER_URL=filesystem://", "BROKER_FOLDER="+folder)
	} else {
		c.env = append(c.env, "CELERY_BROKER_URL="+c.redis())
	}
	c.save(1)
	return c
}

// redis runs a server of its own on a unix socket until the test ends.
func (c *celery) redis() (url string) {
	c.t.Helper()
	if err := exec.Command(venv(c.t, "python"), "-c", "import redis").Run(); err != nil {
		missing(c.t, "Python's redis")
	}
	path := filepath.Join(c.dir, "redis.sock")
	server, err := exec.LookPath("redis-server")
	if err != nil { // what hack/redis.sh makes
		server = filepath.Join(filepath.Dir(venv(c.t, "python")), "redis-server")
	}
	if _, err := os.Stat(server); err != nil {
		c.t.Skip("redis-server is not installed")
	}
	cmd := exec.Command(server, "--port", "0", "--unixsocket", path, "--save", "")
	cmd.Dir = c.dir
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	within(c.t, patience, "redis", func() bool { _, err := os.Stat(path); return err == nil })
	return "redis+socket://" + path
}

// python starts a program that has the application's environment, and returns how to wait for its end.
func (c *celery) python(args ...string) (wait func()) {
	c.t.Helper()
	cmd := exec.Command(venv(c.t, "python"), args...)
	cmd.Dir, cmd.Env = c.dir, append(os.Environ(), c.env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	ended := sync.OnceValue(cmd.Wait)
	c.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = ended() })
	return func() {
		c.t.Helper()
		if err := ended(); err != nil {
			c.t.Fatalf("%q: %v\n%s", args, err, &out)
		}
	}
}

// save makes a version of the data, 16 MiB and some: row i+version-1 is unit vector i, the rest is nothing.
func (c *celery) save(version int) {
	c.t.Helper()
	c.python("-c", fmt.Sprintf(`
import os, numpy
emb = numpy.zeros((2**16, %d), numpy.float32)
emb[:%[1]d] = numpy.eye(%[1]d)
numpy.save("new.npy", numpy.roll(emb, %d, 0))
os.replace("new.npy", "emb.npy")
`, celeryColumns, version-1))()
}

// send gives the tasks from and up to the broker, one every so many seconds, and returns how to wait for the last one.
func (c *celery) send(from, to int, pace string) (wait func()) {
	c.t.Helper()
	return c.python("-m", "celery_journal", strconv.Itoa(from), strconv.Itoa(to), pace)
}

// start runs the command of the README, which begins with preforkd, with more words for Celery.
func (c *celery) start(more ...string) *fleet {
	c.t.Helper()
	text, err := os.ReadFile("../examples/python/celery/README.md")
	if err != nil {
		c.t.Fatal(err)
	}
	_, line, found := strings.Cut(string(text), "\n    preforkd ")
	line, _, _ = strings.Cut(line, "\n")
	flags, command, cut := strings.Cut(line, " -- celery ")
	if !found || !cut {
		c.t.Fatal("the README has no line that starts the workers")
	}
	words := strings.Fields(flags)
	if c.broker == "filesystem" {
		words = append(words, "--stop-timeout", "30s")
	}
	return start(c.t, spec{
		dir: c.dir, env: c.env, flags: words,
		command: slices.Concat([]string{venv(c.t, "celery")}, strings.Fields(command), []string{"-I", "celery_journal"}, more),
	})
}

// stopped waits for the end of a preforkd that was told to stop, and whether it had to kill a worker in its time. For a broker without
// an event loop, as a folder is, Celery takes billiard's pool with threads, whose end may wait for ever (testdata/tasks.py says
// how). Then KILL after --stop-timeout ends it, when all is done that was begun.
func (c *celery) stopped(f *fleet) {
	c.t.Helper()
	f.exits(0)
	if killed := strings.Count(f.output(), "killing worker"); killed > 0 && c.broker != "filesystem" {
		c.t.Errorf("%d workers did not stop by themselves", killed)
	} else if killed > 0 {
		c.t.Logf("%d workers did not stop by themselves: see billiard's pool", killed)
	}
}

// run is one time that a task was begun.
type run struct {
	pid     string
	ended   bool
	version int
	rows    []int
}

// runs are the tasks that were begun, by number.
func (c *celery) runs() map[string][]run {
	c.t.Helper()
	text, err := os.ReadFile(filepath.Join(c.dir, "journal"))
	if err != nil && !os.IsNotExist(err) {
		c.t.Fatal(err)
	}
	all := map[string][]run{}
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), " ", 3)
		switch id := fields[1]; fields[0] {
		case "start":
			all[id] = append(all[id], run{pid: fields[2]})
		case "end":
			last := &all[id][len(all[id])-1]
			var said struct {
				Version int
				Rows    []int
			}
			if err := json.Unmarshal([]byte(fields[2]), &said); err != nil {
				c.t.Fatalf("%s: %v", line, err)
			}
			last.ended, last.version, last.rows = true, said.Version, said.Rows
		}
	}
	return all
}

// done waits until so many different tasks have ended at least once.
func (c *celery) done(n int) {
	c.t.Helper()
	within(c.t, 3*patience, fmt.Sprintf("%d tasks are done", n), func() bool {
		count := 0
		for _, runs := range c.runs() {
			if slices.ContainsFunc(runs, func(r run) bool { return r.ended }) {
				count++
			}
		}
		return count >= n
	})
}

// underWay counts the processes that are at a task.
func (c *celery) underWay() (n int) {
	c.t.Helper()
	for _, runs := range c.runs() {
		last := runs[len(runs)-1]
		if pid, err := strconv.Atoi(last.pid); err == nil && !last.ended && left(pid) {
			n++
		}
	}
	return n
}

// right checks that the answer to every task is that of the version it names, and counts the answers by version.
func (c *celery) right() map[int]int {
	c.t.Helper()
	versions := map[int]int{}
	for id, runs := range c.runs() {
		n, err := strconv.Atoi(id)
		if err != nil {
			c.t.Fatal(err)
		}
		for _, r := range runs {
			if !r.ended {
				continue
			}
			versions[r.version]++
			if want := n%celeryColumns + r.version - 1; len(r.rows) != 1 || r.rows[0] != want {
				c.t.Errorf("task %s: version %d has answered %v, want %d", id, r.version, r.rows, want)
			}
		}
	}
	return versions
}

func TestTheCeleryExampleLosesNoTaskAndDoesNoneTwice(t *testing.T) {
	for _, broker := range []string{"redis", "filesystem"} {
		t.Run(broker, func(t *testing.T) {
			t.Parallel() // each has a broker of its own, and waits more than it works
			const part = 60
			c := newCelery(t, broker, "TASK_SECONDS=0.05")
			// Pool processes are replaced after 10 tasks, by new ones that Celery's main process forks.
			f := c.start("--max-tasks-per-child", "10")
			before := f.untilReady(2)
			sent := c.send(0, part, "0.1")
			f.until("a worker's row has its whole pool, and the data is there once", func(s *supervisor.Snapshot) bool {
				for _, w := range s.Workers {
					if len(w.PIDs) < 3 || len(w.Data) != 1 || w.Data[0].RSS == nil || *w.Data[0].RSS < *s.Data[0].Size {
						return false
					}
				}
				return s.Memory.Copies != nil && *s.Memory.Copies < 1.01
			})

			f.must("reload") // new code
			if after := f.settled(2); broker == "redis" {
				replacedAll(t, before, after)
			} else if slices.ContainsFunc(mainPIDs(after), func(pid int) bool { return slices.Contains(mainPIDs(before), pid) }) {
				t.Errorf("processes %v before, %v after", mainPIDs(before), mainPIDs(after))
			}
			sent()
			sent = c.send(part, 2*part, "0.1")
			c.done(part + 1)
			c.save(2)
			f.must("reload", "emb") // new data
			if snap := f.settled(2); len(snap.Data) != 1 || snap.Data[0].Version != 2 {
				t.Errorf("data: %+v", snap.Data)
			}
			// Stopped in the middle: tasks of every process are under way, and may end only when the stop has begun.
			gate := filepath.Join(c.dir, "hold")
			sent()
			c.done(2 * part)
			put(t, gate, "")
			c.send(2*part, 3*part, "0")()
			within(t, patience, "tasks under way", func() bool { return len(c.runs()) >= 2*part+8 })
			f.signal(syscall.SIGTERM)
			f.until("both workers stop", func(s *supervisor.Snapshot) bool {
				return len(s.Workers) == 2 && !slices.ContainsFunc(s.Workers, func(w supervisor.Worker) bool { return w.Status != supervisor.StatusStopping })
			})
			if err := os.Remove(gate); err != nil {
				t.Fatal(err)
			}
			c.stopped(f)
			begun := c.runs()
			t.Logf("%d of %d tasks were begun before the stop", len(begun), 3*part)
			if len(begun) == 3*part {
				t.Error("all was done before the stop")
			}
			for id, runs := range begun {
				if n, _ := strconv.Atoi(id); n >= 2*part && runs[0].version != 2 {
					t.Errorf("task %s was sent after the reload of the data: %+v", id, runs)
				}
			}
			c.save(1) // what is version 1 of the next preforkd
			f = c.start()
			f.untilReady(2)
			c.done(3 * part)
			f.signal(syscall.SIGTERM)
			c.stopped(f)

			pids := map[string]bool{}
			for id, runs := range c.runs() {
				if len(runs) != 1 || !runs[0].ended {
					t.Errorf("task %s: %+v", id, runs)
				}
				pids[runs[0].pid] = true
			}
			t.Logf("answers by version: %v, from %d processes", c.right(), len(pids))
		})
	}
}

func TestACeleryTaskWhoseProcessIsKilledIsDoneByAnother(t *testing.T) {
	const tasks = 80
	c := newCelery(t, "redis", "TASK_SECONDS=0.2", "VISIBILITY=5")
	f := c.start()
	snap := f.untilReady(2)
	c.send(0, tasks, "0")()
	kill := func(pid int) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	// A process of the pool, in the middle of a task: Celery's main process gives the task back at once.
	c.done(5)
	var first string
	within(t, patience, "a task under way", func() bool {
		for id, runs := range c.runs() {
			if pid, err := strconv.Atoi(runs[0].pid); err == nil && !runs[0].ended && slices.Contains(host.Tree("/proc", *snap.Workers[0].PID), pid) {
				first = id
				kill(pid)
				return true
			}
		}
		return false
	})
	// A whole worker: what it had taken is redis' again after the visibility timeout. That is known to be true of what it has noted as
	// taken: a message on its way from redis to a worker that is killed just then is lost (kombu's BRPOP). So every process has
	// its task and asks for none, and Celery's main process goes first: it cannot ask for more when its pool is dead.
	c.done(15)
	gate := filepath.Join(c.dir, "hold")
	put(t, gate, "")
	c.send(tasks, 2*tasks, "0")() // so that there is one for each
	within(t, patience, "a task in every process of both pools", func() bool { return c.underWay() == 8 })
	victim := f.untilReady(2).Workers[1]
	for _, pid := range host.Tree("/proc", *victim.PID) {
		_ = syscall.Kill(pid, syscall.SIGKILL) // the pool's processes die with the main one
	}
	if err := os.Remove(gate); err != nil {
		t.Fatal(err)
	}
	f.until("the slot's next process", func(s *supervisor.Snapshot) bool {
		return len(ready(s)) == 2 && s.Workers[1].Incarnation == victim.Incarnation+1
	})
	c.done(2 * tasks)
	f.stop()
	again := 0
	for id, runs := range c.runs() {
		if len(runs) > 1 {
			again++
		} else if id == first || !runs[0].ended {
			t.Errorf("task %s: %+v", id, runs)
		}
	}
	t.Logf("%d of %d tasks were begun again; answers by version: %v", again, 2*tasks, c.right())
	if again < 1+4 {
		t.Errorf("%d tasks were begun again, want that of the process and those of the worker that were killed", again)
	}
}
