// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: --max-private counts a worker's own memory and nothing else. Workers that leak 5 MiB a request are replaced near
// the limit of 200 MiB without a lost request, as single processes and as gunicorn's process trees; workers that hold the
// same gigabyte of shared data and do not leak are left alone, although `ps` shows more than a gigabyte for each.

import (
	"fmt"
	"regexp"
	"testing"
	"time"

	humanize "github.com/dustin/go-humanize"

	"github.com/preforkd/preforkd/supervisor"
)

func TestLeakingWorkersAreReplacedAndLargeOnesAreNot(t *testing.T) {
	size := int64(1 << 30)
	if testing.Short() || kilobytes(t, "/proc/meminfo", "MemAvailable") < 6<<30 {
		size = 256 * mib
	}
	blob := "blob=" + sparse(t, size)
	for _, c := range []struct {
		name    string
		command func(t *testing.T) []string
	}{
		{"stdlib", func(t *testing.T) []string { return []string{python(t, nil), script(t, "leak.py")} }},
		{"gunicorn", func(t *testing.T) []string { return []string{venv(t, "gunicorn"), "leak:wsgi"} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			fleet := func(leak int) (*fleet, load) {
				f := start(t, spec{
					flags:   []string{"-w", "2", "-l", "127.0.0.1:0", "-d", blob, "--max-private", "200MiB"},
					command: c.command(t),
					env:     []string{fmt.Sprint("LEAK=", leak), "PYTHONPATH=" + script(t, ".")},
				})
				address := f.untilReady(2).Listen[0].Address
				// 20 MiB a second, even if one worker gets all: the limit is seen in three samples, one a second.
				return f, load{clients: 2, address: address, pace: 500 * time.Millisecond, right: func(string) bool { return true }}
			}
			leaking, requests := fleet(5 * mib)
			large, others := fleet(0)
			stop, stopOthers := requests.start(t), others.start(t)
			leaking.until("both workers were replaced", func(s *supervisor.Snapshot) bool {
				return len(ready(s)) == 2 && s.Workers[0].Incarnation > 1 && s.Workers[1].Incarnation > 1
			})
			snap := large.untilExact(2)
			for _, load := range []func() tally{stop, stopOthers} {
				result := load()
				t.Log(result)
				result.nothingLost(t)
			}

			replaced := leaking.logged("replacing worker")
			for _, line := range replaced {
				said := regexp.MustCompile(`private memory was (\S+ \S+) in 3 samples`).FindStringSubmatch(fmt.Sprint(line["because"]))
				if said == nil || line["reason"] != "max-private" {
					t.Errorf("the log does not say why: %v", line)
					continue
				}
				private, err := humanize.ParseBytes(said[1])
				t.Logf("worker %v was replaced with %s of its own", line["worker"], said[1])
				if err != nil || private < 150*mib || private > 320*mib {
					t.Errorf("worker %v was replaced with %s of its own, want about 200 MiB", line["worker"], said[1])
				}
			}
			if n := len(replaced); n < 2 {
				t.Errorf("the log names %d replacements", n)
			}

			for _, w := range snap.Workers {
				t.Logf("worker %d that does not leak: RSS %.0f MiB, private %.0f MiB", w.ID, value(w.RSS)/mib, value(w.Private)/mib)
				if w.Incarnation != 1 {
					t.Errorf("worker %d was replaced although it does not leak: %+v", w.ID, w.LastExit)
				}
				if value(w.RSS) <= float64(size) || value(w.Private) >= 200*mib {
					t.Errorf("worker %d: RSS %v, private %v: the test shows nothing", w.ID, value(w.RSS), value(w.Private))
				}
			}
			leaking.stop()
			large.stop()
		})
	}
}
