// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: workers that ask for it take new versions in place, as single processes and as gunicorn's trees, beside workers that
// are replaced; one that refuses, or dies at any step of it, costs nothing but itself; and HUP replaces everybody.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/preforkd/preforkd/supervisor"
)

// kept lists the slots whose process is the same.
func kept(before, after *supervisor.Snapshot) (slots []int) {
	for i, w := range ready(before) {
		if w.PID != nil && *w.PID == mainPIDs(after)[i] {
			slots = append(slots, w.ID)
		}
	}
	return slots
}

func touch(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestWorkersThatAskTakeNewDataAndTheOthersAreReplaced(t *testing.T) {
	const n, size = 3, 16 * mib
	account, through := newLedger(t)
	f, emb := versioned(t, n, "0 2", size, spec{through: through})
	first := f.serves(n, 1)
	stop := load{clients: 2, address: first.Listen[0].Address, right: new(readings).right}.start(t)

	saveRows(t, emb, 2, size)
	if text := f.must("reload", "emb"); text != "1 worker replaced, 2 took the new data in place; emb is now version 2" {
		t.Errorf("reload said %q", text)
	}
	second := f.serves(n, 2)
	if same := kept(first, second); !slices.Equal(same, []int{0, 2}) {
		t.Errorf("workers %v were kept, want those that asked", same)
	}
	if links, err := os.ReadDir(filepath.Join(f.run, "data")); err != nil || fmt.Sprint(links) != "[L emb.npy L emb.v2.npy]" {
		t.Errorf("links: %v, %v", links, err)
	}

	// Whoever starts after that has the new version, too.
	kill(t, mainPIDs(second)[0])
	f.until("the one that was killed is back", func(s *supervisor.Snapshot) bool {
		return len(ready(s)) == n && s.Workers[0].Incarnation == 2 && slices.Equal(s.Workers[0].InPlace, []string{"emb"})
	})
	third := f.serves(n, 2)

	saveRows(t, emb, 3, size)
	f.signal(syscall.SIGHUP)
	if same := kept(third, f.serves(n, 3)); same != nil {
		t.Errorf("workers %v were not replaced by HUP", same)
	}
	f.until("the takers have said so", func(s *supervisor.Snapshot) bool { return s.Workers[0].InPlace != nil && s.Workers[2].InPlace != nil })
	account.holds(size)
	if result := stop(); len(result.failures) > 1 { // the killed one's own
		t.Errorf("%v\n%s", result, result.kinds())
	}
	f.stop()
	account.holds()
}

func TestAWorkerThatRefusesNewDataIsReplaced(t *testing.T) {
	const n, size = 2, 4 * mib
	account, through := newLedger(t)
	f, emb := versioned(t, n, "0 1", size, spec{through: through})
	first := f.serves(n, 1)
	touch(t, filepath.Join(f.dir, "refuse"))
	saveRows(t, emb, 2, size)
	if text := f.must("reload", "emb"); text != "2 workers replaced, 0 took the new data in place; emb is now version 2" {
		t.Errorf("reload said %q", text)
	}
	if same := kept(first, f.serves(n, 2)); same != nil {
		t.Errorf("workers %v are still there", same)
	}
	warned := f.logged("worker did not take new data in place and is to be replaced")
	if len(warned) == 0 || !strings.Contains(fmt.Sprint(warned[0]["error"]), "these are not my columns") {
		t.Errorf("the log does not say why: %v", warned)
	}
	account.holds(size)
	f.stop()
	account.holds()
}

func TestAWorkerThatDiesWhileItTakesNewDataCostsNothingElse(t *testing.T) {
	const n, size = 2, 4 * mib
	account, through := newLedger(t)
	f, emb := versioned(t, n, "0 1", size, spec{through: through})
	f.serves(n, 1)
	f.until("the digest", func(s *supervisor.Snapshot) bool { return s.Data[0].SHA256 != nil })
	descriptors := links(t, f.pid)
	version := 1
	for _, step := range []string{"received", "loaded", "put", "moved", "answered"} {
		for _, victim := range []int{0, 1} { // the first one that is offered the data, and a later one
			t.Run(fmt.Sprintf("%s, worker %d", step, victim), func(t *testing.T) {
				before := f.until("both take it", func(s *supervisor.Snapshot) bool {
					return len(s.Workers) == n && s.Workers[0].InPlace != nil && s.Workers[1].InPlace != nil
				})
				mark := filepath.Join(f.dir, fmt.Sprintf("die-%s-%d", step, victim))
				touch(t, mark)
				version++
				saveRows(t, emb, version, size)
				text := f.must("reload", "emb")
				t.Log(text)
				if !strings.Contains(text, fmt.Sprintf("emb is now version %d", version)) || strings.Contains(text, "still holds") {
					t.Errorf("reload said %q", text)
				}
				within(t, patience, "its death", func() bool {
					_, err := os.Stat(mark)
					return errors.Is(err, fs.ErrNotExist)
				})
				f.until("its successor", func(s *supervisor.Snapshot) bool { return !slices.Contains(mainPIDs(s), *before.Workers[victim].PID) })
				after := f.serves(n, version)
				if same := kept(before, after); step == "answered" && !slices.Equal(same, []int{1 - victim}) || slices.Contains(same, victim) {
					t.Errorf("workers %v were kept", same)
				}
				account.holds(size)
			})
		}
	}
	f.keeps(descriptors)
	f.stop()
	account.holds()
}

// Each of gunicorn's children asks. Its master keeps the descriptor that it was started with, and with it that version.
func TestEachProcessOfAGunicornTakesNewData(t *testing.T) {
	const n, size = 2, 16 * mib
	for name, c := range map[string]struct {
		config string
		held   bool
	}{
		"as it is": {"", true},
		"with a master that lets go of it": {"import os\ndef when_ready(_):\n" +
			"    os.dup2(os.open('/dev/null', os.O_RDONLY), int(os.environ['PREFORKD_DATA_EMB_FD']))\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			account, through := newLedger(t)
			dir := place(t)
			put(t, filepath.Join(dir, "gunicorn.conf.py"), c.config)
			f, emb := versioned(t, n, "0 1", size, spec{
				dir: dir, through: through, command: []string{venv(t, "gunicorn"), "--workers", "2", "versions:wsgi"},
			})
			tree := func() []int {
				var all []int
				f.until("gunicorn's children take it", func(s *supervisor.Snapshot) bool {
					all = nil
					for _, w := range ready(s) {
						all = append(all, w.PIDs...)
					}
					return len(all) == 3*n
				})
				slices.Sort(all)
				return all
			}
			before := tree()
			// A child may have been ready, and seen, before its sibling has asked.
			within(t, patience, "every child answers", func() bool { return len(f.answering(t, 40)) == 2*n })
			for version := 2; version <= 3; version++ {
				saveRows(t, emb, version, size)
				text := f.must("reload", "emb")
				t.Log(text)
				want := fmt.Sprintf("no worker replaced, 2 took the new data in place; emb is now version %d", version)
				if !strings.HasPrefix(text, want) || strings.Contains(text, "still holds version 1") != c.held {
					t.Errorf("reload said %q", text)
				}
				for pid, v := range f.answering(t, 100) {
					if v != int64(version) {
						t.Errorf("process %d answers with version %d, want %d", pid, v, version)
					}
				}
			}
			if after := tree(); !slices.Equal(before, after) {
				t.Errorf("processes %v before, %v after", before, after)
			}
			if c.held {
				account.holds(size, size) // the masters' and the newest
				f.must("reload")          // replaces them
			}
			f.until("the newest alone", func(s *supervisor.Snapshot) bool { return len(s.Data) == 1 })
			account.holds(size)
			f.stop()
			account.holds()
		})
	}
}

// Servers start processes of their own at any time: gunicorn when one has died, or has served --max-requests.
func TestAProcessThatItsServerStartsLaterHasTheNewestData(t *testing.T) {
	const size = 4 * mib
	f, emb := versioned(t, 1, "0", size, spec{command: []string{venv(t, "gunicorn"), "--workers", "1", "versions:wsgi"}})
	child := func() (pid int) {
		f.until("gunicorn and its child", func(s *supervisor.Snapshot) bool {
			if len(s.Workers[0].PIDs) == 2 {
				pid = s.Workers[0].PIDs[1]
			}
			return pid != 0
		})
		return pid
	}
	saveRows(t, emb, 2, size)
	f.must("reload", "emb")
	first := child()
	kill(t, first)
	within(t, patience, "another child", func() bool { return child() != first })
	f.until("it takes new data", func(s *supervisor.Snapshot) bool { return s.Workers[0].InPlace != nil })
	within(t, patience, "version 2 from the new child", func() bool {
		got := f.answering(t, 1)
		return got[int64(child())] == 2
	})
	f.stop()
}

// answering asks n times, and tells which processes answered, with which version last.
func (f *fleet) answering(t *testing.T, n int) map[int64]int64 {
	t.Helper()
	snap, err := f.snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var r readings
	for range n {
		if body, err := get(snap.Listen[0].Address); err != nil || !r.right(body) {
			t.Fatalf("answer %q, %v", body, err)
		}
	}
	versions := map[int64]int64{}
	for _, a := range r.all {
		versions[a.pid] = a.version
	}
	return versions
}
