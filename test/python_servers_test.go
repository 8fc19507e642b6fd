// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: every Python server of examples/python, started by the command that stands in its README, serves the shared
// data; and its start, a rolling reload of all workers and new data lose no request, on fresh connections and on kept
// ones. Each answer tells by its content which version of the data it comes from. The table of docs/servers.md is what was
// proved here.

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/preforkd/preforkd/internal/host"
	readiness "github.com/preforkd/preforkd/internal/ready"
	"github.com/preforkd/preforkd/supervisor"
)

// pythonServer is an example of examples/python, and what docs/servers.md says of it.
type pythonServer struct {
	test    string
	name    string // the first column of the table, with {PACKAGE} for the version that runs
	example string
	needs   string // what it imports
	mark    string // in its command, where the README has several
	socket  string // how it comes to the listening socket
	waits   string // how it waits for connections
	tree    int    // processes of a worker
	ends    string // by what its process ends when it is asked to
}

func pythonServers() []pythonServer {
	return []pythonServer{
		{
			test: "gunicorn-sync", name: "gunicorn {gunicorn}, sync", example: "gunicorn", needs: "gunicorn", mark: "--graceful-timeout 20 app:app",
			socket: "`LISTEN_FDS`, unasked", waits: "select or poll", tree: 2, ends: "exit code 0",
		},
		{
			test: "gunicorn-gthread", name: "gunicorn {gunicorn}, gthread", example: "gunicorn", needs: "gunicorn", mark: "gthread",
			socket: "`LISTEN_FDS`, unasked", waits: "epoll", tree: 2, ends: "exit code 0",
		},
		{
			test: "uvicorn", name: "uvicorn {uvicorn}, FastAPI {fastapi}", example: "fastapi", needs: "fastapi, uvicorn", mark: "uvicorn",
			socket: "`--fd {fd:http}`", waits: "epoll", tree: 1, ends: "SIGTERM",
		},
		{
			test: "hypercorn", name: "hypercorn {hypercorn}", example: "hypercorn", needs: "hypercorn", mark: "hypercorn",
			socket: "`--bind {listen:http}`", waits: "epoll", tree: 1, ends: "exit code 0",
		},
		{
			test: "waitress", name: "waitress {waitress}", example: "waitress", needs: "waitress", mark: "python",
			socket: "`sockets=[preforkd.socket()]`", waits: "select or poll", tree: 1, ends: "exit code 0",
		},
		{
			test: "granian", name: "granian {granian}", example: "granian", needs: "granian", mark: "python",
			socket: "a method of its embedded server", waits: "epoll", tree: 1, ends: "exit code 0",
		},
		{
			test: "http.server", name: "http.server of Python", example: "http_server", needs: "http.server", mark: "python",
			socket: "`preforkd.socket()`", waits: "select or poll", tree: 1, ends: "exit code 0",
		},
	}
}

var packages = regexp.MustCompile(`\{(\w+)\}`)

// title is the name with the versions that the virtual environment has.
func (s pythonServer) title(t *testing.T) string {
	t.Helper()
	return packages.ReplaceAllStringFunc(s.name, func(found string) string {
		cmd := exec.Command(venv(t, "python"), "-c", "import importlib.metadata as m, sys; print(m.version(sys.argv[1]))", strings.Trim(found, "{}"))
		version, err := cmd.Output()
		if err != nil {
			t.Fatalf("the version of %s: %v", found, err)
		}
		return strings.TrimSpace(string(version))
	})
}

// command is the one of the example's README, as words.
func (s pythonServer) command(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../examples/python", s.example, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "    preforkd ") && strings.Contains(line, s.mark) {
			return strings.Fields(line)
		}
	}
	t.Fatalf("examples/python/%s/README.md has no command with %q", s.example, s.mark)
	return nil
}

// start runs the command beside a copy of the example and its data, but with n workers and a free port. Python starts in no worker
// until release is called.
func (s pythonServer) start(t *testing.T, n int, through []string) (f *fleet, emb string, release func()) {
	t.Helper()
	bin := filepath.Dir(venv(t, "python"))
	if exec.Command(filepath.Join(bin, "python"), "-c", "import numpy, "+s.needs).Run() != nil {
		missing(t, s.needs+" and numpy in a virtual environment (PREFORKD_TEST_VENV, or make e2e)")
	}
	dir := place(t)
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("../examples/python", s.example))); err != nil {
		t.Fatal(err)
	}
	emb = filepath.Join(dir, "emb.npy")
	saveFloats(t, emb, 1)
	words := s.command(t)
	split := slices.Index(words, "--")
	flags := slices.Clone(words[1:split])
	port := slices.Index(flags, ":8000")
	if port < 0 {
		t.Fatalf("no :8000 in %q", words)
	}
	flags[port] = "127.0.0.1:0"
	hold := filepath.Join(dir, "hold")
	if err := os.Mkdir(hold, 0o755); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(hold, "sitecustomize.py"), fmt.Sprintf("import os, time\nwhile os.path.exists(%q):\n    time.sleep(0.01)\n", hold+"/on"))
	put(t, hold+"/on", "")
	release = func() {
		if err := os.Remove(hold + "/on"); err != nil {
			t.Error(err)
		}
	}
	return start(t, spec{
		dir: dir, through: through, flags: append(flags, "-w", fmt.Sprint(n)), command: words[split+1:],
		env: []string{
			"PATH=" + bin + ":" + os.Getenv("PATH"), "PYTHONPATH=" + script(t, "../../clients/python/src") + ":" + hold,
			"OPENBLAS_NUM_THREADS=1",
		},
	}), emb, release
}

// queued counts the connections that wait to be accepted at 127.0.0.1:PORT: the receive queue of a listening socket (proc_net_tcp).
// It is negative where the socket does not listen yet.
func queued(t *testing.T, address string) int64 {
	t.Helper()
	_, text, _ := strings.Cut(address, ":")
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(fmt.Sprintf(` 0100007F:%04X [0-9A-F]+:[0-9A-F]+ 0A [0-9A-F]+:([0-9A-F]+) `, port)).
		FindStringSubmatch(textOf(t, "/proc/net/tcp"))
	if found == nil {
		return -1
	}
	n, err := strconv.ParseInt(found[1], 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestPythonServersLoseNothing(t *testing.T) {
	const n = 2
	for _, s := range pythonServers() {
		t.Run(s.test, func(t *testing.T) {
			account, through := newLedger(t)
			f, emb, release := s.start(t, n, through)
			var of phases

			// From the moment when the socket listens, which is when the data is loaded: what comes before any worker is ready waits.
			first := f.until("the socket", func(snap *supervisor.Snapshot) bool {
				return len(snap.Listen) == 1 && queued(t, snap.Listen[0].Address) >= 0
			})
			address := first.Listen[0].Address
			of[0] = underLoad(t, address, []int{1}, func() {
				within(t, patience, "a connection of each of underLoad's clients waits", func() bool { return queued(t, address) == 2*4 })
				release()
				first = f.settled(n)
				everyWorkerAnswers(t, address, n, 1)
			})
			if found := s.waiting(t, f, first); found != s.waits {
				t.Errorf("it waits for connections by %s, want %s", found, s.waits)
			}

			var second *supervisor.Snapshot
			of[1] = underLoad(t, address, []int{1}, func() {
				f.must("reload")
				second = f.settled(n)
			})
			replacedAll(t, first, second)
			s.stopped(t, second)

			saveFloats(t, emb, 2)
			var third *supervisor.Snapshot
			of[2] = underLoad(t, address, []int{1, 2}, func() {
				text := f.must("reload", "emb")
				if !strings.Contains(text, "emb is now version 2") || strings.Contains(text, "still holds") {
					t.Errorf("reload said %q", text)
				}
				third = f.settled(n)
				everyWorkerAnswers(t, address, n, 2)
			})
			replacedAll(t, second, third)
			if len(third.Data) != 1 || third.Data[0].Version != 2 || third.Data[0].Workers != n {
				t.Errorf("data: %+v", third.Data)
			}
			account.holds(floatsSize)
			t.Log(of)
			s.onThePage(t, f.untilExact(n), of)
			f.stop()
			account.holds()
		})
	}
}

// waiting tells how the workers wait for connections, and checks of how many processes each of them is.
func (s pythonServer) waiting(t *testing.T, f *fleet, snap *supervisor.Snapshot) (how string) {
	t.Helper()
	var inodes []uint64
	for _, link := range links(t, f.pid) {
		var inode uint64
		if n, _ := fmt.Sscanf(link, "socket:[%d]", &inode); n == 1 {
			inodes = append(inodes, inode)
		}
	}
	for _, w := range snap.Workers {
		tree := host.Tree("/proc", *w.PID)
		if len(tree) != s.tree {
			t.Errorf("worker %d is the processes %v, want %d", w.ID, tree, s.tree)
		}
		watchers, err := readiness.Watchers("/proc", tree, inodes)
		if err != nil {
			t.Fatal(err)
		}
		how = "select or poll"
		if len(watchers) > 0 {
			how = "epoll"
		}
	}
	return how
}

// stopped checks how the old processes ended.
func (s pythonServer) stopped(t *testing.T, snap *supervisor.Snapshot) {
	t.Helper()
	for _, w := range snap.Workers {
		how := w.LastExit.Signal
		if w.LastExit.Code != nil {
			how = fmt.Sprint("exit code ", *w.LastExit.Code)
		}
		if how != s.ends {
			t.Errorf("worker %d ended by %s, want %s", w.ID, how, s.ends)
		}
	}
}
