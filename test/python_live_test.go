// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: Python workers that call preforkd.on_new_version take twenty versions under load as the same processes, without a lost
// request, and give back what they held of the old ones; beside them others are replaced; one whose callback refuses, or
// hangs, costs nothing but itself; and the examples do what their first lines say.

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/preforkd/preforkd/supervisor"
)

// client is the setting with which Python finds the package preforkd of this repository.
func client(t *testing.T, more ...string) string {
	t.Helper()
	return "PYTHONPATH=" + strings.Join(append([]string{script(t, "../../clients/python/src"), script(t, ".")}, more...), ":")
}

// takers is versioned with workers upon the package.
func takers(t *testing.T, n int, who string, size int64, s spec) (f *fleet, emb string) {
	t.Helper()
	s.command = []string{tool(t, "env"), client(t), venv(t, "python"), script(t, "taker.py")}
	return versioned(t, n, who, size, s)
}

func TestPythonWorkersTakeTwentyVersionsUnderLoad(t *testing.T) {
	const n, size, reloads = 4, 32 * mib, 20
	account, through := newLedger(t)
	f, emb := takers(t, n, "0 1 2 3", size, spec{through: through})
	var seen readings
	stop := load{clients: 4, address: f.serves(n, 1).Listen[0].Address, right: seen.right}.start(t)
	var first *supervisor.Snapshot
	var held []int // descriptors and mappings of data of each worker
	for version := 2; version <= reloads+1; version++ {
		saveRows(t, emb, version, size)
		if text := f.must("reload", "emb"); text != fmt.Sprintf("no worker replaced, 4 took the new data in place; emb is now version %d", version) {
			t.Errorf("reload said %q", text)
		}
		if version == 3 { // everybody has done it once, and no request under way has an old version any more
			f.serves(n, version)
			first = f.untilExact(n)
			for _, pid := range mainPIDs(first) {
				held = append(held, holdings(t, pid))
			}
		}
	}
	result := stop()
	t.Logf("%d reloads of %d MiB: %v", reloads, size/mib, result)
	result.nothingLost(t)
	seen.onlyRise(t, reloads+1)
	f.serves(n, reloads+1)
	account.holds(size)
	last := f.untilExact(n)
	if !slices.Equal(mainPIDs(first), mainPIDs(last)) {
		t.Errorf("processes %v before, %v after", mainPIDs(first), mainPIDs(last))
	}
	for i, w := range last.Workers {
		was, is := value(first.Workers[i].Private), value(w.Private)
		t.Logf("worker %d: private memory %.1f → %.1f MiB, holds %d", i, was/mib, is/mib, held[i])
		if is > was+4*mib || w.Incarnation != 1 {
			t.Errorf("worker %d: private memory %v → %v, incarnation %d", i, was, is, w.Incarnation)
		}
		if now := holdings(t, *w.PID); now != held[i] {
			t.Errorf("worker %d: %d descriptors and mappings of data after the first reloads, %d after the last", i, held[i], now)
		}
	}
	f.stop()
	account.holds()
}

// holdings counts the descriptors of a process, and its mappings of memfds.
func holdings(t *testing.T, pid int) int {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	files := slices.DeleteFunc(links(t, pid), func(link string) bool { return strings.Contains(link, "socket:") }) // those of requests
	return len(files) + strings.Count(string(maps), "/memfd:")
}

func TestPythonWorkersThatDoNotTakeNewDataAreReplacedBesideThoseThatDo(t *testing.T) {
	const n, size = 3, 8 * mib
	f, emb := takers(t, n, "0 2", size, spec{})
	first := f.serves(n, 1)
	stop := load{clients: 2, address: first.Listen[0].Address, right: new(readings).right}.start(t)
	saveRows(t, emb, 2, size)
	if text := f.must("reload", "emb"); text != "1 worker replaced, 2 took the new data in place; emb is now version 2" {
		t.Errorf("reload said %q", text)
	}
	if same := kept(first, f.serves(n, 2)); !slices.Equal(same, []int{0, 2}) {
		t.Errorf("workers %v were kept, want those that take it", same)
	}
	stop().nothingLost(t)
	f.stop()
}

func TestAPythonWorkerWhoseCallbackRefusesOrHangsIsReplaced(t *testing.T) {
	const n, size = 2, 8 * mib
	for mark, why := range map[string]string{
		"refuse": "the process refused it: ValueError: these are not my columns",
		"hang":   "the process does not answer",
	} {
		t.Run(mark, func(t *testing.T) {
			account, through := newLedger(t)
			f, emb := takers(t, n, "0 1", size, spec{through: through, flags: []string{"--start-timeout", "5s"}})
			first := f.serves(n, 1)
			stop := load{clients: 2, address: first.Listen[0].Address, right: new(readings).right}.start(t)
			touch(t, filepath.Join(f.dir, mark))
			saveRows(t, emb, 2, size)
			if text := f.must("reload", "emb"); text != "2 workers replaced, 0 took the new data in place; emb is now version 2" {
				t.Errorf("reload said %q", text)
			}
			if same := kept(first, f.serves(n, 2)); same != nil {
				t.Errorf("workers %v are still there", same)
			}
			stop().nothingLost(t)
			warned := f.logged("worker did not take new data in place and is to be replaced")
			if len(warned) == 0 || !strings.Contains(fmt.Sprint(warned[0]["error"]), why) {
				t.Errorf("the log does not say why: %v", warned)
			}
			// The worker itself says where.
			if mark == "refuse" && !strings.Contains(f.output(), `raise ValueError("these are not my columns")`) {
				t.Error("the worker wrote no traceback")
			}
			account.holds(size)
			f.stop()
			account.holds()
		})
	}
}

// mv new.npy emb.npy: a moment later all workers answer with version 2, as the same processes.
func TestTheExamplesTakeWhatTheirFileBecomes(t *testing.T) {
	const n, size = 2, 4 * mib
	for name, command := range map[string][]string{
		"in_place.py":      {venv(t, "python"), script(t, "../../examples/python/in_place.py")},
		"in_place_asgi.py": {venv(t, "uvicorn"), "--log-level", "warning", "--fd", "{fd:http}", "in_place_asgi:app"},
	} {
		t.Run(name, func(t *testing.T) {
			run := append([]string{tool(t, "env"), client(t, script(t, "../../examples/python"))}, command...)
			f, emb := versioned(t, n, "0 1", size, spec{flags: []string{"--watch"}, command: run})
			before := f.settled(n)
			stop := load{clients: 2, address: before.Listen[0].Address, path: "/3", right: func(body string) bool {
				var a struct {
					Version int64
					Row     []int64
				}
				return json.Unmarshal([]byte(body), &a) == nil && a.Row[0] == a.Version<<32|3
			}}.start(t)
			saveRows(t, emb, 2, size)
			after := f.until("version 2", func(s *supervisor.Snapshot) bool {
				return len(s.Data) == 1 && s.Data[0].Version == 2 && s.Data[0].Workers == n
			})
			if !slices.Equal(mainPIDs(before), mainPIDs(after)) {
				t.Errorf("processes %v before, %v after", mainPIDs(before), mainPIDs(after))
			}
			stop().nothingLost(t)
			for range 2 * n {
				var answer struct {
					PID, Version int
					Row          []int64
				}
				body, err := get(after.Listen[0].Address + "/3")
				if err == nil {
					err = json.Unmarshal([]byte(body), &answer)
				}
				if err != nil || answer.Version != 2 || !slices.Contains(mainPIDs(before), answer.PID) || answer.Row[0] != 2<<32|3 {
					t.Errorf("answer %q, %v", body, err)
				}
			}
			f.stop()
		})
	}
}
