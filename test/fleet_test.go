// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// One running preforkd: started, asked, stopped, and looked for when it should be gone.

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/preforkd/preforkd/supervisor"
)

// patience is how long a test waits for what must come. It decides nothing when all is well.
const patience = 60 * time.Second

// spec is a preforkd to start. It gets a run dir of its own, and no stats address unless flags name one.
type spec struct {
	through []string // a program with its arguments that becomes preforkd by exec, or is its parent when forks is set
	forks   bool
	dir     string // where it runs: a new directory
	run     string // the run dir that it will choose by itself, instead of one that it is given
	flags   []string
	command []string
	env     []string
	stdin   *os.File
	files   []*os.File // its descriptors from 3 on
}

// fleet is a preforkd that runs beside a test. The test fails if anything of it is left at its end.
type fleet struct {
	t     *testing.T
	cmd   *exec.Cmd
	pid   int    // of preforkd itself
	dir   string // where it runs
	run   string
	mark  string // in the environment of every process that it starts
	log   string // path of what it and its workers write
	ended chan struct{}
	stats *http.Client
}

// place makes a directory that every user may enter. Its path is short, without the test's name: sockets are made in it, whose
// paths have 107 bytes. Where TMPDIR takes most of them it is in /tmp.
func place(t *testing.T) string {
	t.Helper()
	parent := os.TempDir()
	if len(parent) > 64 {
		parent = "/tmp"
	}
	dir, err := os.MkdirTemp(parent, "e2e-") //nolint:usetesting // t.TempDir has the test's name in its path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func start(t *testing.T, s spec) *fleet {
	t.Helper()
	if s.dir == "" {
		s.dir = place(t)
	}
	f := &fleet{
		t: t, dir: s.dir, run: filepath.Join(s.dir, "run"), log: filepath.Join(s.dir, "log"),
		mark: "PREFORKD_E2E=" + s.dir, ended: make(chan struct{}),
	}
	log, err := os.Create(f.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	// Nobody is killed for being slow to stop: what does not stop by itself is a failure that no KILL may hide.
	own := []string{"run", "--run-dir", f.run, "--stats", "off", "--stop-timeout", "10m"}
	if s.run != "" {
		f.run, own = s.run, slices.Delete(own, 1, 3)
	}
	args := slices.Concat(s.through, []string{preforkd}, own, s.flags)
	if s.command != nil {
		args = append(append(args, "--"), s.command...)
	}
	f.cmd = exec.Command(args[0], args[1:]...)
	f.cmd.Dir = f.dir
	f.cmd.Env = slices.Concat(os.Environ(), []string{f.mark, "HOME=" + f.dir, "PYTHONDONTWRITEBYTECODE=1"}, s.env)
	// Files, not pipes: Wait must not wait for what a worker's children keep open.
	f.cmd.Stdout, f.cmd.Stderr, f.cmd.ExtraFiles = log, log, s.files
	if s.stdin != nil {
		f.cmd.Stdin = s.stdin
	}
	f.stats = &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(f.run, "control.sock"))
		},
	}}
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = f.cmd.Wait()
		close(f.ended)
	}()
	t.Cleanup(f.cleanup)
	f.pid = f.cmd.Process.Pid
	if s.forks {
		within(t, patience, "preforkd started by "+s.through[0], func() bool {
			for _, p := range children(t, f.cmd.Process.Pid) {
				f.pid = p.pid
			}
			return f.pid != f.cmd.Process.Pid
		})
	}
	return f
}

// cleanup ends what a failed test left and tells what a test that passed should not have left.
func (f *fleet) cleanup() {
	select {
	case <-f.ended:
	default:
		f.kill()
	}
	if f.t.Failed() {
		text, _ := os.ReadFile(f.log)
		f.t.Logf("what preforkd and its workers wrote:\n%s", text)
		for _, pid := range marked(f.t, f.mark) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	// A server's own children may outlive a kill -9 of preforkd by their own rule: gunicorn's by 15 s.
	within(f.t, patience, "the end of every process", func() bool { return len(marked(f.t, f.mark)) == 0 })
	left, err := filepath.Glob("/dev/shm/*preforkd*")
	if err != nil || len(left) > 0 {
		f.t.Errorf("left in /dev/shm: %v, %v", left, err)
	}
}

// kill is kill -9 of preforkd.
func (f *fleet) kill() {
	_ = syscall.Kill(f.pid, syscall.SIGKILL)
	<-f.ended
}

// stop is a graceful stop, at the end of which nothing is left and nobody had to be killed.
func (f *fleet) stop() {
	f.t.Helper()
	if err := syscall.Kill(f.pid, syscall.SIGTERM); err != nil {
		f.t.Fatalf("cannot stop preforkd: %v", err)
	}
	f.exits(0)
	if strings.Contains(f.output(), "killing worker") {
		f.t.Error("a worker did not stop by itself")
	}
}

// exits waits for the end of preforkd, its exit code, and that nothing is left at that very moment.
func (f *fleet) exits(code int) {
	f.t.Helper()
	select {
	case <-f.ended:
	case <-time.After(patience):
		f.t.Fatal("preforkd did not end")
	}
	if left := marked(f.t, f.mark); len(left) > 0 {
		f.t.Errorf("preforkd has ended, but left processes: %v", left)
	}
	if got := f.cmd.ProcessState.ExitCode(); got != code {
		f.t.Errorf("preforkd: %v, want exit code %d", f.cmd.ProcessState, code)
	}
	if left, err := os.ReadDir(f.run); err == nil && len(left) > 0 {
		f.t.Errorf("left in the run dir: %v", left)
	}
}

// output is what preforkd and its workers have written so far.
func (f *fleet) output() string {
	text, err := os.ReadFile(f.log)
	if err != nil {
		f.t.Fatal(err)
	}
	return string(text)
}

// ask sends a GET to the control socket.
func (f *fleet) ask(path string) (status int, body []byte, err error) {
	response, err := f.stats.Get("http://localhost" + path)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(response.Body)
	return response.StatusCode, body, err
}

func (f *fleet) snapshot() (*supervisor.Snapshot, error) {
	status, body, err := f.ask("/stats")
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("status %d: %s", status, body)
	}
	snap := new(supervisor.Snapshot)
	return snap, json.Unmarshal(body, snap)
}

// until polls the stats for a fact.
func (f *fleet) until(what string, fact func(*supervisor.Snapshot) bool) *supervisor.Snapshot {
	f.t.Helper()
	var snap *supervisor.Snapshot
	within(f.t, 2*patience, what, func() bool {
		select {
		case <-f.ended:
			f.t.Fatalf("preforkd ended (%v), waiting for: %s", f.cmd.ProcessState, what)
		default:
		}
		next, err := f.snapshot()
		if err != nil {
			return false
		}
		snap = next
		return fact(snap)
	})
	return snap
}

func (f *fleet) untilReady(n int) *supervisor.Snapshot {
	f.t.Helper()
	return f.until(strconv.Itoa(n)+" ready workers", func(s *supervisor.Snapshot) bool { return len(ready(s)) == n })
}

// untilDigested waits for n ready workers and the digests of all data, which are reckoned behind the load.
func (f *fleet) untilDigested(n int) *supervisor.Snapshot {
	f.t.Helper()
	return f.until(fmt.Sprintf("%d ready workers, and the digests", n), func(s *supervisor.Snapshot) bool {
		return len(ready(s)) == n && !slices.ContainsFunc(s.Data, func(d supervisor.Data) bool { return d.SHA256 == nil })
	})
}

// untilExact waits until n workers are ready and the figures of all of them were counted page by page.
func (f *fleet) untilExact(n int) *supervisor.Snapshot {
	f.t.Helper()
	return f.until(strconv.Itoa(n)+" exact rows", func(s *supervisor.Snapshot) bool {
		rows := ready(s)
		return len(rows) == n && !slices.ContainsFunc(rows, func(w supervisor.Worker) bool { return !w.Sample.Exact })
	})
}

func ready(s *supervisor.Snapshot) []supervisor.Worker {
	return slices.DeleteFunc(slices.Clone(s.Workers), func(w supervisor.Worker) bool { return w.Status != supervisor.StatusReady })
}

// metric returns one sample of /metrics, named as it stands there.
func (f *fleet) metric(name string) float64 {
	f.t.Helper()
	_, body, err := f.ask("/metrics")
	if err != nil {
		f.t.Fatal(err)
	}
	for line := range strings.Lines(string(body)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			value, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				f.t.Fatal(err)
			}
			return value
		}
	}
	f.t.Fatalf("no metric %s", name)
	return 0
}

// within polls for a fact that must come true.
func within(t *testing.T, limit time.Duration, what string, fact func() bool) {
	t.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(limit); !fact(); <-poll.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// get asks a server, on a connection of its own, and returns the body of a 200.
func get(address string) (string, error) {
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + address)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d: %s", response.StatusCode, body)
	}
	return string(body), err
}
