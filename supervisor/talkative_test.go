// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package supervisor_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/preforkd/preforkd/supervisor"
)

// Workers that say their status as fast as they can keep the loop in news that is never a second apart. What it does
// once a second must come all the same: seeing what they say, and limits that no news brings up.
func TestATalkativeFleetPutsOffNeitherOrdersNorLimits(t *testing.T) {
	at := newSite(t)
	config := at.config(3, `
said, own = 0, "said." + str(os.getpid())
while True:
    said += 1
    text = b"STATUS=%d" % said
    if said % 100 == 0:
        if os.path.exists("enough") and os.environ["PREFORKD_INCARNATION"] == "1":
            text += b"\nX_PREFORKD_REQUESTS=100"
        open(own + ".new", "w").write(str(said))
        os.rename(own + ".new", own)
    tell(text)
`)
	config.MaxRequests = supervisor.Limit{Value: 100}
	f := run(t, config)
	talking := func(s *supervisor.Snapshot) bool { // all of them, by what the loop has published at a tick
		for _, w := range s.Workers {
			if n, err := strconv.Atoi(w.StatusText); err != nil || n < 200 {
				return false
			}
		}
		return len(s.Workers) == 3
	}
	before := pids(f.until("what they say", talking))

	if text, err := f.Restart(t.Context(), 0); err != nil || text != "1 worker replaced" {
		t.Errorf("Restart: %q, %v", text, err)
	}
	f.until("what the new one says", talking)
	at.put(t, "enough", "")
	f.until("the others replaced", func(s *supervisor.Snapshot) bool {
		return len(s.Workers) == 3 && s.Workers[1].Incarnation == 2 && s.Workers[2].Incarnation == 2 && talking(s)
	})
	if got := f.Counters().ExitsByReason; got["max-requests"] != 2 || got["restart"] != 1 {
		t.Errorf("ends by reason: %v", got)
	}
	if text, err := f.Scale(t.Context(), 2); err != nil {
		t.Errorf("Scale: %q, %v", text, err)
	}
	for _, pid := range before {
		text, err := os.ReadFile(at.path("said." + strconv.Itoa(pid)))
		if n, _ := strconv.Atoi(strings.TrimSpace(string(text))); err != nil || n < 200 {
			t.Errorf("process %d has said %q, %v: that is not talkative", pid, text, err)
		}
	}
	if !f.Healthy() {
		t.Error("the loop has not answered of late")
	}
}
