// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: new versions of a large array reach the workers under load without a lost request, a mixed answer or a step back,
// with at most the old and the new version in memory, whether workers are replaced or take them in place; and no worker
// starts before all data is complete.

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/preforkd/preforkd/supervisor"
)

func TestNewVersionsUnderLoadHoldTwoInMemoryAtMost(t *testing.T) {
	const n = 4
	size, reloads := int64(256*mib), 3
	if os.Getenv("PREFORKD_E2E_LONG") == "1" {
		size, reloads = 1<<30, 10
	}
	for name, takers := range map[string]string{"replaced": "", "in place": "0 1 2 3"} {
		t.Run(name, func(t *testing.T) {
			account, through := newLedger(t)
			f, emb := versioned(t, n, takers, size, spec{through: through})
			var seen readings
			first := f.untilExact(n)
			stop := load{clients: 4, address: first.Listen[0].Address, right: seen.right}.start(t)
			peaks := f.peaks(account)
			var took []time.Duration
			for version := 2; version <= reloads+1; version++ {
				saveRows(t, emb, version, size)
				begin := time.Now()
				text := f.must("reload", "emb")
				took = append(took, time.Since(begin).Round(time.Millisecond))
				if !strings.Contains(text, fmt.Sprintf("emb is now version %d", version)) || strings.Contains(text, "still holds") {
					t.Errorf("reload said %q", text)
				}
				f.until("one version", func(s *supervisor.Snapshot) bool { return len(s.Data) == 1 && s.Data[0].Version == version })
			}
			last := f.serves(n, reloads+1)
			data, shared := peaks()
			result := stop()
			t.Logf("%d reloads of %d MiB took %v: %v", reloads, size/mib, took, result)
			t.Logf("peak: %.4f of two versions by memory.data, %.4f by the kernel", float64(data)/float64(2*size), float64(shared)/float64(2*size))
			result.nothingLost(t)
			seen.onlyRise(t, reloads+1)
			if most := 2*size + 2*size/20; data > most || shared > most {
				t.Errorf("at the peak %d bytes by memory.data, %d by the kernel, want at most %d", data, shared, most)
			}
			if data <= size || shared <= size {
				t.Error("the peaks have never seen two versions: they show nothing")
			}
			account.holds(size)
			same := slices.Equal(mainPIDs(first), mainPIDs(last))
			if same != (takers != "") {
				t.Errorf("processes %v before, %v after", mainPIDs(first), mainPIDs(last))
			}
			if same {
				last = f.untilExact(n)
				for i, w := range last.Workers {
					was, is := value(first.Workers[i].Private), value(w.Private)
					t.Logf("worker %d: private memory %.1f → %.1f MiB", i, was/mib, is/mib)
					if is > was+8*mib || w.Incarnation != 1 {
						t.Errorf("worker %d: private memory %v → %v, incarnation %d", i, was, is, w.Incarnation)
					}
				}
			}
			f.stop()
			account.holds()
		})
	}
}

// The quick one is complete long before the slow one; no worker may see it before.
func TestNoWorkerStartsBeforeAllDataIsComplete(t *testing.T) {
	dir := place(t)
	source := newFIFO(t, dir, "slow")
	put(t, filepath.Join(dir, "quick.bin"), "one")
	f := start(t, spec{
		dir: dir, flags: []string{"-w", "2", "-d", "quick=quick.bin", "-d", "slow=cmd:cat slow", "--ready", "notify"},
		command: []string{python(t, nil), script(t, "digests.py")},
	})
	half := func() {
		t.Helper()
		source.send(8 * mib)
		f.until("one is complete, half of the other one is there", func(s *supervisor.Snapshot) bool {
			quick, slow := false, false
			for _, d := range s.Data {
				quick = quick || d.Version == 0 && d.Name == "quick" && d.Loaded == 3
				slow = slow || d.Version == 0 && d.Name == "slow" && d.Loaded > mib
			}
			return quick && slow
		})
	}
	end := func() {
		t.Helper()
		source.send(8 * mib)
		source.file.Close()
	}
	half()
	if f.logged("worker started") != nil || len(children(t, f.pid)) != 1 {
		t.Errorf("children %+v, want the command alone", children(t, f.pid))
	}
	end()
	first := f.tells(2, fmt.Sprintf("quick:1:%s slow:1:%s", sha256Of("one"), source.digest()))

	// The same in a reload: nobody is replaced.
	if err := os.Remove(filepath.Join(dir, "slow")); err != nil {
		t.Fatal(err)
	}
	source = newFIFO(t, dir, "slow")
	source.sent = []byte("other bytes") // that it has not: what follows differs
	put(t, filepath.Join(dir, "quick.bin"), "two")
	done := make(chan string, 1)
	go func() { text, err := f.post("/reload", `{}`); done <- fmt.Sprint(text, err) }()
	half()
	if now := f.settledBut(2); !slices.Equal(mainPIDs(now), mainPIDs(first)) || len(f.logged("worker started")) != 2 {
		t.Errorf("workers %v before, %v in the middle of the load", mainPIDs(first), mainPIDs(now))
	}
	end()
	if said := <-done; !strings.Contains(said, "2 workers replaced") {
		t.Errorf("reload said %q", said)
	}
	f.tells(2, fmt.Sprintf("quick:2:%s slow:2:%s", sha256Of("two"), sha256Of(string(source.sent[len("other bytes"):]))))
	f.stop()
}

// settledBut is settled, while an order is under way.
func (f *fleet) settledBut(n int) *supervisor.Snapshot {
	f.t.Helper()
	return f.until(fmt.Sprintf("%d ready workers and nobody else", n), func(s *supervisor.Snapshot) bool {
		return len(ready(s)) == n && len(s.Workers) == n && s.Supervisor.Operation != nil
	})
}
