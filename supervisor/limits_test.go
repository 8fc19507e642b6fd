// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package supervisor_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/preforkd/preforkd/supervisor"
)

func TestLimitsReplaceAWorker(t *testing.T) {
	for reason, tc := range map[string]struct {
		set  func(*supervisor.Config)
		more string
	}{
		"max-requests": {
			func(c *supervisor.Config) { c.MaxRequests = supervisor.Limit{Value: 100} },
			`if os.environ["PREFORKD_INCARNATION"] == "1": tell(b"X_PREFORKD_REQUESTS=100")`,
		},
		"max-age": {
			func(c *supervisor.Config) { c.MaxAge = supervisor.Limit{Value: int64(1500 * time.Millisecond)} }, "",
		},
		"watchdog": {
			func(c *supervisor.Config) { c.Watchdog = time.Second },
			`
assert os.environ["WATCHDOG_USEC"] == "1000000" and os.environ["WATCHDOG_PID"] == str(os.getpid())
import threading
while os.environ["PREFORKD_INCARNATION"] != "1":
    tell(b"WATCHDOG=1")
    time.sleep(0.2)
`,
		},
	} {
		t.Run(reason, func(t *testing.T) {
			at := newSite(t)
			config := at.config(1, tc.more)
			tc.set(&config)
			f := run(t, config)
			first := f.untilReady(1).Workers[0]
			snap := f.until("another incarnation", func(s *supervisor.Snapshot) bool {
				return len(s.Workers) == 1 && s.Workers[0].Incarnation > first.Incarnation && s.Workers[0].Status == supervisor.StatusReady
			})
			exit := snap.Workers[0].LastExit
			if exit == nil || exit.Reason != reason || f.Counters().ExitsByReason[reason] == 0 {
				t.Errorf("last exit: %+v, %+v", exit, f.Counters())
			}
			if want := map[string]string{"watchdog": "SIGABRT"}[reason]; want != "" && exit.Signal != want {
				t.Errorf("last exit: %+v, want %s", exit, want)
			}
		})
	}
}

func TestPrivateMemoryIsLimited(t *testing.T) {
	at := newSite(t)
	config := at.config(1, `
if os.environ["PREFORKD_INCARNATION"] == "1":
    time.sleep(2.5)
    block = b"x" * (100 << 20)
`)
	config.MaxPrivate = supervisor.Limit{Value: 60 << 20}
	f := run(t, config)
	f.untilReady(1)
	f.until("another incarnation", func(s *supervisor.Snapshot) bool {
		return len(s.Workers) == 1 && s.Workers[0].Incarnation == 2 && s.Workers[0].Status == supervisor.StatusReady
	})
	if exit := f.Snapshot().Workers[0].LastExit; exit == nil || exit.Reason != "max-private" {
		t.Errorf("last exit: %+v", exit)
	}
}

func TestALimitBelowAFreshWorkersOwnSizeIsRefused(t *testing.T) {
	at := newSite(t)
	config := at.config(2, "")
	config.MaxPrivate = supervisor.Limit{Value: 1 << 20}
	f := run(t, config)
	before := pids(f.untilReady(2))
	f.until("the refusal in the log", func(*supervisor.Snapshot) bool {
		return strings.Contains(f.log.String(), "cannot keep workers below --max-private")
	})
	f.until("eight seconds", func(s *supervisor.Snapshot) bool { return *s.Workers[0].Uptime > 9 })
	if now := pids(f.Snapshot()); !slices.Equal(now, before) || strings.Count(f.log.String(), "cannot keep workers") != 1 {
		t.Errorf("workers %v, were %v; log %s", now, before, strconv.Quote(f.log.String()))
	}
}
