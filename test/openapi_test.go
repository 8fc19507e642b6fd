// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: what preforkd answers, in a life with everything in it, is what docs/openapi.json says, field by field: nothing is
// missing, nothing is null that may not be, nothing is there that is not described.

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/preforkd/preforkd/supervisor"
)

// sights are what a life must have shown for its answers to prove something.
type sights struct {
	mu   sync.Mutex
	seen map[string]bool
}

func (s *sights) see(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[fmt.Sprintf(format, args...)] = true
}

func (s *sights) snapshot(snap *supervisor.Snapshot) {
	s.see("state %s", snap.Supervisor.State)
	if o := snap.Supervisor.Operation; o != nil {
		s.see("operation %s %s", o.Kind, o.Phase)
	}
	if r := snap.Supervisor.LastReload; r != nil {
		s.see("reload %s", r.Result)
	}
	for _, d := range snap.Data {
		s.see("size null %v, version %d", d.Size == nil, min(d.Version, 2))
	}
	for _, w := range snap.Workers {
		s.see("status %s, pid null %v", w.Status, w.PID == nil)
		s.see("pss null %v, exact %v", w.PSS == nil, w.Sample.Exact)
		s.see("in place %v", w.InPlace != nil)
		if e := w.LastExit; e != nil {
			s.see("exit %s, code null %v", e.Reason, e.Code == nil)
		}
	}
	s.see("saved null %v", snap.Memory.Saved == nil)
}

func (s *sights) missing(wanted ...string) (out []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(wanted, func(what string) bool { return s.seen[what] })
}

// TestEveryAnswerIsAsDescribed: data that is loaded slowly, two workers of which one takes new data in place, a reload, one
// without news and one that fails, a crash, backoff, scaling, a restart, orders that are refused, the end.
func TestEveryAnswerIsAsDescribed(t *testing.T) {
	dir := place(t)
	emb, slow := filepath.Join(dir, "emb.npy"), newFIFO(t, dir, "slow")
	saveRows(t, emb, 1, mib)
	f := start(t, spec{
		dir:     dir,
		flags:   []string{"-w", "2", "-l", "127.0.0.1:0", "-d", "emb=" + emb, "-d", "slow=cmd:cat slow", "--backoff-max", "2s"},
		command: []string{"/bin/sh", "-c", `[ ! -e broken ] || exit 3; exec "$@"`, "sh", venv(t, "python"), script(t, "versions.py")},
		env: []string{
			"TAKES=0", "PYTHONPATH=" + script(t, ".") + ":" + script(t, "../../examples/python"), "OPENBLAS_NUM_THREADS=1",
		},
	})
	d := f.described()
	life := &sights{seen: map[string]bool{}}

	// Two who look on all the time: one asks for /stats and /history, one has the stream.
	var looking sync.WaitGroup
	enough := make(chan struct{})
	looking.Go(func() {
		for {
			select {
			case <-enough:
				return
			case <-f.ended:
				return
			default:
			}
			for _, path := range []string{"/stats", "/history"} {
				_, body, err := d.ask(http.MethodGet, path, "")
				if err != nil && len(body) > 0 { // without a body preforkd is ending
					t.Errorf("%s: %v", path, err)
				}
				var snap supervisor.Snapshot
				if path == "/stats" && json.Unmarshal(body, &snap) == nil && snap.Schema > 0 {
					life.snapshot(&snap)
				}
			}
		}
	})
	looking.Go(func() {
		err := d.follow(t.Context(), func(kind string, data []byte) {
			var snap supervisor.Snapshot
			var event supervisor.Event
			switch {
			case kind == "stats" && json.Unmarshal(data, &snap) == nil:
				life.snapshot(&snap)
			case kind == "event" && json.Unmarshal(data, &event) == nil:
				life.see("event %s", event.Kind)
			case kind == "end":
				life.see("end")
			}
		})
		if err != nil {
			t.Errorf("/events: %v", err)
		}
	})

	slow.send(4 * mib)
	f.until("part of the data", func(s *supervisor.Snapshot) bool {
		return slices.ContainsFunc(s.Data, func(d supervisor.Data) bool { return d.Name == "slow" && d.Loaded > 0 })
	})
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 503, "/metrics": 200, "/openapi.json": 200, "/": 200} {
		if status, text, err := d.ask(http.MethodGet, path, ""); status != want || err != nil {
			t.Errorf("%s while loading: status %d, want %d, %v\n%s", path, status, want, err, text)
		}
	}
	slow.file.Close()
	f.untilExact(2)
	f.until("one takes new data in place", func(s *supervisor.Snapshot) bool { return s.Workers[0].InPlace != nil })

	saveRows(t, emb, 2, mib)
	if last := d.order("/reload", `{"names": ["emb"]}`); last.Code != 0 || !strings.Contains(last.Text, "1 took the new data in place") {
		t.Errorf("reload: %+v", last)
	}
	life.snapshot(f.until("a reload", func(s *supervisor.Snapshot) bool { return s.Supervisor.LastReload != nil }))
	if last := d.order("/reload", `{"names": ["emb"]}`); last.Code != 0 || !strings.Contains(last.Text, "not changed") {
		t.Errorf("reload without news: %+v", last)
	}
	life.snapshot(f.until("its result", func(s *supervisor.Snapshot) bool { return s.Supervisor.LastReload.Result == "unchanged" }))

	kill(t, *f.settled(2).Workers[1].PID)
	life.snapshot(f.until("a crash", func(s *supervisor.Snapshot) bool {
		return s.Workers[1].LastExit.Signal == "SIGKILL" && s.Workers[1].Status == supervisor.StatusReady
	}))
	broken := filepath.Join(dir, "broken")
	touch(t, broken)
	kill(t, *f.settled(2).Workers[1].PID)
	life.snapshot(f.until("backoff", func(s *supervisor.Snapshot) bool {
		w := s.Workers[1]
		return w.PID == nil && w.LastExit.Code != nil && *w.LastExit.Code == 3
	}))
	if err := d.value("Snapshot", must(t, f, "/stats")); err != nil {
		t.Error(err)
	}
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
	f.settled(2)

	touch(t, broken)
	touch(t, filepath.Join(dir, "refuse"))
	saveRows(t, emb, 3, mib)
	if last := d.order("/reload", `{"names": ["emb"]}`); last.Code != 1 || last.Error == "" {
		t.Errorf("a reload to what does not start: %+v", last)
	}
	f.until("a reload that failed", func(s *supervisor.Snapshot) bool { return s.Supervisor.LastReload.Error != "" })
	for _, name := range []string{"broken", "refuse"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	f.settled(2)

	if last := d.order("/scale", `{"workers": 3}`); last.Code != 0 {
		t.Errorf("scale to 3: %+v", last)
	}
	// A worker that is halted does not hear that it shall stop: its row can be seen for as long as it takes.
	halted := *f.settled(3).Workers[0].PID
	halt(t, halted)
	var restarted sync.WaitGroup
	restarted.Go(func() {
		if last := d.order("/restart", `{"ids": [0]}`); last.Code != 0 {
			t.Errorf("restart: %+v", last)
		}
	})
	life.snapshot(f.until("one that stops", func(s *supervisor.Snapshot) bool {
		return slices.ContainsFunc(s.Workers, func(w supervisor.Worker) bool { return w.Status == supervisor.StatusStopping })
	}))
	resume(t, halted)
	restarted.Wait()
	if last := d.order("/scale", `{"workers": 2}`); last.Code != 0 {
		t.Errorf("scale to 2: %+v", last)
	}
	if last := d.order("/restart", `{"ids": [7]}`); last.Code != 2 {
		t.Errorf("a restart of nobody: %+v", last)
	}
	for _, c := range []struct {
		path, body string
		status     int
	}{
		{"/scale", `{}`, 400},
		{"/scale", ``, 400},
		{"/restart", `{"id": 1}`, 400},
		{"/reload", `["emb"]`, 400},
		{"/stop", `{"quick": 1}`, 400},
		{"/reload", `{"names": ["` + strings.Repeat("x", 64<<10) + `"]}`, 413},
	} {
		if status, text, err := d.ask(http.MethodPost, c.path, c.body); status != c.status || err != nil {
			t.Errorf("%s %.40s: status %d, want %d, %v\n%s", c.path, c.body, status, c.status, err, text)
		}
	}
	for _, accept := range []string{"text/html", "*/*"} {
		if status, _, err := d.ask(http.MethodGet, "/", "", "Accept", accept); status != 200 || err != nil {
			t.Errorf("the page as %s: status %d, %v", accept, status, err)
		}
	}
	halted = *f.settled(2).Workers[1].PID
	halt(t, halted)
	if last := d.order("/stop", ``); last.Text != "stopping" {
		t.Errorf("stop: %+v", last)
	}
	life.snapshot(f.until("a fleet that stops", func(s *supervisor.Snapshot) bool { return s.Supervisor.State == supervisor.StateStopping }))
	resume(t, halted)
	f.exits(0)
	close(enough)
	looking.Wait()

	if missing := life.missing("state loading", "state starting", "state running", "state stopping",
		"size null true, version 0", "size null false, version 1", "size null false, version 2",
		"status starting, pid null false", "status ready, pid null false", "status stopping, pid null false",
		"status backoff, pid null true", "pss null true, exact false", "pss null false, exact true", "in place true",
		"saved null true", "saved null false", "exit crash, code null true", "exit crash, code null false", "exit reload, code null false",
		"operation reload rolling", "operation scale rolling", "operation restart rolling",
		"reload done", "reload unchanged", "reload failed", "end",
		"event loaded", "event freed", "event started", "event ready", "event took", "event ended", "event begun", "event done",
		"event failed", "event stopping"); len(missing) > 0 {
		t.Errorf("the life has not shown: %q\nbut: %v", missing, life.seen)
	}
	for _, what := range []string{"Snapshot", "Event", "End", "ProgressLine", "LastLine", "GET /stats 200", "GET /history 200"} {
		if d.noted(what) == 0 {
			t.Errorf("no %s was held against the description", what)
		}
	}
	t.Logf("as described: %v", d.count)
}

func halt(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
}

func resume(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Fatal(err)
	}
}

// must is the body of a path of the control socket.
func must(t *testing.T, f *fleet, path string) []byte {
	t.Helper()
	status, body, err := f.ask(path)
	if err != nil || status != http.StatusOK {
		t.Fatalf("%s: status %d, %v", path, status, err)
	}
	return body
}

// The description would be worth nothing if it let everything pass.
func TestTheDescriptionRefusesWhatIsNotServed(t *testing.T) {
	f := start(t, spec{flags: []string{"-w", "1", "--ready", "alive:10ms", "-d", "blob=" + sparse(t, mib)}, command: sleeper})
	d := f.described()
	f.untilExact(1)
	served := must(t, f, "/stats")
	if err := d.value("Snapshot", served); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(s, worker, data, memory map[string]any){
		"a field more":             func(s, _, _, _ map[string]any) { s["more"] = 1 },
		"a field more of a worker": func(_, w, _, _ map[string]any) { w["rss_bytes"] = 1 },
		"a field less":             func(_, w, _, _ map[string]any) { delete(w, "pss") },
		"a state that is none":     func(s, _, _, _ map[string]any) { s["supervisor"].(map[string]any)["state"] = "resting" },
		"a status that is none":    func(_, w, _, _ map[string]any) { w["status"] = "busy" },
		"null where a value is":    func(_, w, _, _ map[string]any) { w["pids"] = nil },
		"a text where a number is": func(_, _, d, _ map[string]any) { d["size"] = "1 MiB" },
		"memory below zero":        func(_, w, _, _ map[string]any) { w["rss"] = -1 },
		"a part of a byte":         func(_, _, _, m map[string]any) { m["used"] = 0.5 },
		"a moment that is none":    func(_, w, _, _ map[string]any) { w["last_spawn"] = "yesterday" },
		"an exit for no reason": func(_, w, _, _ map[string]any) {
			w["last_exit"] = map[string]any{"at": "2026-03-01T09:00:00Z", "code": 1}
		},
		"a format that nobody has heard": func(_, _, d, _ map[string]any) { d["format"] = "csv" },
	} {
		var s map[string]any
		if err := json.Unmarshal(served, &s); err != nil {
			t.Fatal(err)
		}
		first := func(name string) map[string]any { return s[name].([]any)[0].(map[string]any) }
		change(s, first("workers"), first("data"), s["memory"].(map[string]any))
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if d.value("Snapshot", text) == nil {
			t.Errorf("the description takes %s", what)
		}
	}
	f.stop()
}

// The schema of /stats that stands alone is the one of the description.
func TestTheSchemaOfTheStatsIsTheDescriptions(t *testing.T) {
	read := func(path string) (root map[string]any) {
		text, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal([]byte(strings.ReplaceAll(string(text), "#/components/schemas/", "#/$defs/")), &root)
		}
		if err != nil {
			t.Fatal(err)
		}
		return root
	}
	alone := read("../docs/stats.schema.json")
	described := read("../docs/openapi.json")["components"].(map[string]any)["schemas"].(map[string]any)
	for name, schema := range alone["$defs"].(map[string]any) {
		if fmt.Sprint(schema) != fmt.Sprint(described[name]) {
			t.Errorf("%s differs", name)
		}
	}
	if fmt.Sprint(alone["properties"]) != fmt.Sprint(described["Snapshot"].(map[string]any)["properties"]) {
		t.Error("the object itself differs")
	}
	if alone["$schema"] != "https://json-schema.org/draft/2020-12/schema" {
		t.Errorf("$schema is %v", alone["$schema"])
	}
}
