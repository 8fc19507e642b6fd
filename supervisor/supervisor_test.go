// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package supervisor_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/preforkd/preforkd/internal/rundir"
	"github.com/preforkd/preforkd/supervisor"
)

func TestMain(m *testing.M) {
	supervisor.Stage()
	os.Exit(m.Run())
}

func TestWorkersShareOneSegment(t *testing.T) {
	content := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
	dir, err := rundir.Open(rundir.Options{Dir: filepath.Join(t.TempDir(), "run")})
	if err != nil {
		t.Fatal(err)
	}
	f := run(t, supervisor.Config{
		Workers: 3, RunDir: dir, Ready: "notify",
		Data:    []supervisor.Source{{Name: "blob", Source: file(t, "blob.bin", content)}},
		Command: []string{"python3", "-c", reader},
	})
	ready := f.untilReady(3)
	if len(ready.Data) != 1 || ready.Data[0].Workers != 3 || *ready.Data[0].Size != 1<<20 || ready.Data[0].Version != 1 {
		t.Errorf("data row: %+v", ready.Data)
	}
	if *ready.Data[0].Resident != 1<<20 || ready.Memory.Data != 1<<20 {
		t.Errorf("resident %d, memory.data %d, want %d each", *ready.Data[0].Resident, ready.Memory.Data, 1<<20)
	}
	snap := f.until("three exact rows", func(s *supervisor.Snapshot) bool {
		for _, w := range s.Workers {
			if !w.Sample.Exact || len(w.Data) != 1 || w.Data[0].RSS == nil || *w.Data[0].RSS < 1<<20 {
				return false
			}
		}
		return s.Memory.Saved != nil
	})
	if got, want := *snap.Memory.Saved, int64(2<<20); got != want {
		t.Errorf("saved = %d, want %d: three workers map one MiB each", got, want)
	}
	if *snap.Memory.Copies != 1 {
		t.Errorf("copies = %v, want 1", *snap.Memory.Copies)
	}
	if target, err := os.Readlink(dir.DataPath("blob.bin")); err != nil || !strings.HasPrefix(target, "/proc/") {
		t.Errorf("link: %q, %v", target, err)
	}
	f.Stop()
	if err := f.wait(); err != nil {
		t.Errorf("Run: %v", err)
	}
	for _, w := range ready.Workers {
		if alive(*w.PID) {
			t.Errorf("worker %d is still alive", w.ID)
		}
	}
	if _, err := os.Lstat(dir.DataPath("blob.bin")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the link is left behind: %v", err)
	}
	if s := f.Snapshot().Supervisor.State; s != supervisor.StateStopped {
		t.Errorf("state %q after the end", s)
	}
	if err := dir.Close(); err != nil {
		t.Error(err)
	}
}

// reader maps the dataset, touches all of it, says that it is ready and waits.
const reader = `
import mmap, os, signal, socket
f = open(os.environ["PREFORKD_DATA_BLOB"], "rb")
m = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
assert sum(m[::4096]) > 0
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.sendto(b"READY=1\nSTATUS=reading\nX_PREFORKD_REQUESTS=42", "\0" + os.environ["NOTIFY_SOCKET"][1:])
signal.pause()
`

func TestAKilledWorkerIsReplaced(t *testing.T) {
	f := run(t, supervisor.Config{Workers: 2, Ready: "alive:10ms", Command: sleeper})
	first := f.untilReady(2)
	if err := syscall.Kill(*first.Workers[1].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	snap := f.until("a second incarnation", func(s *supervisor.Snapshot) bool {
		return s.Workers[1].Incarnation == 2 && s.Workers[1].Status == supervisor.StatusReady
	})
	w := snap.Workers[1]
	if w.RespawnCount != 1 || w.LastExit == nil || w.LastExit.Signal != "SIGKILL" || w.LastExit.Reason != "crash" {
		t.Errorf("row: %+v, last exit %+v", w, w.LastExit)
	}
	if *snap.Workers[0].PID != *first.Workers[0].PID {
		t.Error("the other worker was replaced too")
	}
	if c := f.Counters(); c.ExitsByReason["crash"] != 1 || c.Spawns != 3 {
		t.Errorf("counters: %+v", c)
	}
}

func TestGivingUpShowsTheLastWords(t *testing.T) {
	f := run(t, supervisor.Config{
		Workers: 2, BackoffMax: time.Millisecond, Command: []string{"sh", "-c", "echo no module named model >&2; exit 3"},
	})
	err := f.wait()
	if kindOf(err) != supervisor.KindFleet || !strings.Contains(err.Error(), "no module named model") {
		t.Errorf("Run: %v", err)
	}
	if n := strings.Count(f.log.String(), "no module named model\n"); n < 5 {
		t.Errorf("%d starts, want 5 before giving up", n)
	}
}

func TestAStartThatTakesTooLongSaysWhatWasSeen(t *testing.T) {
	f := run(t, supervisor.Config{
		Workers: 1, StartTimeout: 50 * time.Millisecond, BackoffMax: time.Millisecond, Listen: []string{"127.0.0.1:0"}, Command: sleeper,
	})
	err := f.wait()
	if kindOf(err) != supervisor.KindFleet || !strings.Contains(err.Error(), "none waits on it") || !strings.Contains(err.Error(), "--ready") {
		t.Errorf("Run: %v", err)
	}
	if c := f.Counters(); c.ExitsByReason["start-timeout"] != 5 {
		t.Errorf("counters: %+v", c)
	}
}

func TestAStubbornWorkerIsKilled(t *testing.T) {
	f := run(t, supervisor.Config{
		Workers: 2, Ready: "notify", StopTimeout: 200 * time.Millisecond,
		Command: []string{"python3", "-c", "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + strings.Replace(reader, `f = open(os.environ["PREFORKD_DATA_BLOB"], "rb")
m = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
assert sum(m[::4096]) > 0
`, "", 1) + "\nwhile True: signal.pause()"},
	})
	snap := f.untilReady(2)
	f.Stop()
	if err := f.wait(); err != nil {
		t.Errorf("Run: %v", err)
	}
	for _, w := range snap.Workers {
		if alive(*w.PID) {
			t.Errorf("worker %d survived", w.ID)
		}
	}
	if c := f.Counters(); c.ExitsByReason["stop-timeout"] != 2 {
		t.Errorf("counters: %+v", c)
	}
}

func TestWhatAWorkerSaysIsShown(t *testing.T) {
	f := run(t, supervisor.Config{
		Workers: 1, Ready: "notify", Data: []supervisor.Source{{Name: "blob", Source: "cmd:printf abc"}},
		Command: []string{"python3", "-c", reader},
	})
	snap := f.untilReady(1)
	w := snap.Workers[0]
	if w.StatusText != "reading" || w.Requests == nil || *w.Requests != 42 {
		t.Errorf("row: %+v", w)
	}
}

func TestALoadCanBeStopped(t *testing.T) {
	gate := filepath.Join(t.TempDir(), "gate")
	f := run(t, supervisor.Config{
		Workers: 1, Command: sleeper,
		Data: []supervisor.Source{{Name: "slow", Source: "cmd:echo begun; touch " + gate + "; exec sleep 1000"}, {Name: "fast", Source: "cmd:echo x"}},
	})
	snap := f.until("the load under way", func(*supervisor.Snapshot) bool { _, err := os.Stat(gate); return err == nil })
	if snap.Supervisor.State != supervisor.StateLoading || len(snap.Data) != 2 || snap.Data[0].Version != 0 {
		t.Errorf("state %q, data %+v", snap.Supervisor.State, snap.Data)
	}
	f.Stop()
	if err := f.wait(); err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestWhatCannotRunIsRefused(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, tc := range map[string]struct {
		config supervisor.Config
		kind   supervisor.Kind
		text   string
	}{
		"missing data":  {supervisor.Config{Data: []supervisor.Source{{Name: "a", Source: "./missing"}}}, supervisor.KindData, "./missing: no such file or directory"},
		"failed cmd":    {supervisor.Config{Data: []supervisor.Source{{Name: "a", Source: "cmd:echo sorry >&2; exit 3"}}}, supervisor.KindData, "exit status 3:\n  sorry"},
		"port in use":   {supervisor.Config{Listen: []string{taken.Addr().String()}}, supervisor.KindListen, "in use"},
		"no command":    {supervisor.Config{Command: []string{"./nope"}}, supervisor.KindFleet, "cannot start worker 0: exec ./nope: no such file or directory"},
		"same names":    {supervisor.Config{Listen: []string{"a=127.0.0.1:0"}, Data: []supervisor.Source{{Name: "a", Source: "cmd:echo"}}}, supervisor.KindConfig, `both "a"`},
		"unknown {…}":   {supervisor.Config{Command: []string{"true", "{path:b}"}}, supervisor.KindConfig, `no dataset is called "b"`},
		"exec at start": {supervisor.Config{Command: []string{"{path:f}"}, Data: []supervisor.Source{{Name: "f", Source: "cmd:echo"}}}, supervisor.KindFleet, "cannot start worker "},
	} {
		t.Run(name, func(t *testing.T) {
			config := tc.config
			config.Workers = 2
			if config.Command == nil {
				config.Command = sleeper
			}
			err := run(t, config).wait()
			if kindOf(err) != tc.kind || !strings.Contains(err.Error(), tc.text) || !strings.HasPrefix(err.Error(), "cannot ") {
				t.Errorf("Run: kind %d, %v; want kind %d, %q", kindOf(err), err, tc.kind, tc.text)
			}
		})
	}
}

func TestConfigTellsAllProblems(t *testing.T) {
	_, err := supervisor.New(supervisor.Config{Ready: "soon", Data: []supervisor.Source{{Name: "9", Source: "x"}}, Env: []string{"LISTEN_FDS=3"}})
	if kindOf(err) != supervisor.KindConfig {
		t.Fatalf("New: %v", err)
	}
	for _, text := range []string{"without a command", "cannot run 0 workers", `"soon"`, `"9"`, "LISTEN_FDS"} {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q is not told in:\n%v", text, err)
		}
	}
}

func TestRequestsReachTheWorkersThroughOneSocket(t *testing.T) {
	const app = `
import http.server, os, socket
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(os.environ["PREFORKD_WORKER_ID"].encode())
    def log_message(self, *a): pass
s = http.server.HTTPServer(("", 0), H, bind_and_activate=False)
s.socket.close()
s.socket = socket.socket(fileno=3)
s.serve_forever()
`
	f := run(t, supervisor.Config{Workers: 2, Listen: []string{"127.0.0.1:0"}, Command: []string{"python3", "-c", app}})
	snap := f.untilReady(2)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for range 20 {
		response, err := client.Get("http://" + snap.Listen[0].Address)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if id, bad := strconv.Atoi(string(body)); err != nil || bad != nil || id < 0 || id > 1 {
			t.Fatalf("answer %q, %v", body, err)
		}
	}
	if snap.Listen[0].Queue == nil || snap.Listen[0].Name != "http" {
		t.Errorf("listen row: %+v", snap.Listen[0])
	}
	if !f.Ready() || !f.Healthy() {
		t.Error("not ready or not healthy")
	}
}
