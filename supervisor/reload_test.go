// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package supervisor_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/preforkd/preforkd/internal/rundir"
	"github.com/preforkd/preforkd/supervisor"
)

// watched maps its dataset, if it has one, and says that it is ready, unless the file "broken" is there. With a file "gate"
// it waits first until that is gone.
const watched = `
import os, signal, socket, sys, time
if os.path.exists("broken"):
    sys.exit("no module named model")
while os.path.exists("gate"):
    time.sleep(0.01)
open("started", "a").write("x")
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
def tell(text): s.sendto(text, "\0" + os.environ["NOTIFY_SOCKET"][1:])
path = os.environ.get("PREFORKD_DATA_BLOB")
tell(b"READY=1\nSTATUS=" + (open(path, "rb").read(16) if path else b"no data"))
`

// site is a directory for a fleet of watched workers.
type site struct{ dir string }

func newSite(t *testing.T) site {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return site{dir}
}

func (s site) path(name string) string { return filepath.Join(s.dir, name) }

// put writes a file as one should: beside, then renamed over it.
func (s site) put(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(s.path(name+".new"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(s.path(name+".new"), s.path(name)); err != nil {
		t.Fatal(err)
	}
}

func (s site) remove(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(s.path(name)); err != nil {
		t.Fatal(err)
	}
}

func (s site) config(workers int, more string) supervisor.Config {
	return supervisor.Config{
		Workers: workers, Ready: "notify", Dir: s.dir, BackoffMax: 10 * time.Millisecond,
		Command: []string{"python3", "-S", "-c", watched + more + "\nsignal.pause()"},
	}
}

func pids(s *supervisor.Snapshot) []int {
	var list []int
	for _, w := range s.Workers {
		if w.PID != nil {
			list = append(list, *w.PID)
		}
	}
	return list
}

func TestAReloadRollsNewDataThroughTheFleet(t *testing.T) {
	at := newSite(t)
	at.put(t, "blob.bin", "the first")
	dir, err := rundir.Open(rundir.Options{Dir: at.path("run")})
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	config := at.config(3, "")
	config.RunDir, config.Data = dir, []supervisor.Source{{Name: "blob", Source: at.path("blob.bin")}}
	f := run(t, config)
	before := f.untilReady(3)

	most, watching := watchProcesses(f)
	at.put(t, "blob.bin", "the second")
	text, err := f.Reload(t.Context(), nil)
	watching()
	if err != nil || text != "3 workers replaced; blob is now version 2" {
		t.Errorf("Reload: %q, %v", text, err)
	}
	if *most > 4 {
		t.Errorf("%d workers were alive at once, want 4 at most", *most)
	}
	after := f.Snapshot()
	for i, w := range after.Workers {
		if w.Status != supervisor.StatusReady || w.Incarnation != 2 || w.StatusText != "the second" || w.LastExit.Reason != "reload" {
			t.Errorf("worker %d: %+v, last exit %+v", i, w, w.LastExit)
		}
	}
	if len(after.Workers) != 3 || len(after.Data) != 1 || after.Data[0].Version != 2 || after.Data[0].Workers != 3 {
		t.Errorf("%d workers, data %+v", len(after.Workers), after.Data)
	}
	for _, pid := range pids(before) {
		if alive(pid) {
			t.Errorf("old worker %d is alive when Reload has returned", pid)
		}
	}
	for link, want := range map[string]string{"blob.bin": "the second", "blob.v2.bin": "the second"} {
		if got, err := os.ReadFile(dir.DataPath(link)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", link, got, err)
		}
	}
	if _, err := os.Lstat(dir.DataPath("blob.v1.bin")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old version's link: %v", err)
	}
	last := after.Supervisor.LastReload
	if last == nil || last.Result != supervisor.ReloadDone || f.Counters().Reloads[supervisor.ReloadDone] != 1 || after.Supervisor.Operation != nil {
		t.Errorf("last reload %+v, %+v", last, f.Counters())
	}
}

// watchProcesses notes the largest number of processes that a fleet has at once, until the returned function is called.
func watchProcesses(f *fleet) (most *int, stop func()) {
	most = new(int)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			updated := f.Updated()
			*most = max(*most, len(pids(f.Snapshot())))
			select {
			case <-updated:
			case <-ctx.Done():
			}
		}
	})
	return most, func() { cancel(); wg.Wait() }
}

func TestABrokenReleaseLeavesTheOldWorkersServing(t *testing.T) {
	at := newSite(t)
	at.put(t, "blob.bin", "the first")
	config := at.config(2, "")
	config.Data = []supervisor.Source{{Name: "blob", Source: at.path("blob.bin")}}
	f := run(t, config)
	before := pids(f.untilReady(2))

	at.put(t, "blob.bin", "the second")
	at.put(t, "broken", "")
	_, err := f.Reload(t.Context(), nil)
	if kindOf(err) != supervisor.KindFleet || !strings.HasPrefix(err.Error(), "cannot reload: 3 new workers in a row were not ready") ||
		!strings.Contains(err.Error(), "no module named model") {
		t.Errorf("Reload: %v", err)
	}
	snap := f.until("the new version is gone", func(s *supervisor.Snapshot) bool { return len(s.Data) == 1 })
	if snap.Data[0].Version != 1 || !slices.Equal(pids(snap), before) {
		t.Errorf("data %+v, workers %v, were %v", snap.Data, pids(snap), before)
	}
	if last := snap.Supervisor.LastReload; last == nil || last.Result != supervisor.ReloadFailed || last.Error != err.Error() {
		t.Errorf("last reload: %+v", last)
	}

	at.remove(t, "broken")
	if text, err := f.Reload(t.Context(), nil); err != nil || text != "2 workers replaced; blob is now version 3" {
		t.Errorf("Reload when it is mended: %q, %v", text, err)
	}
	if c := f.Counters(); c.Reloads[supervisor.ReloadFailed] != 1 || c.Reloads[supervisor.ReloadDone] != 1 {
		t.Errorf("counters: %+v", c)
	}
}

func TestDataThatCannotBeLoadedChangesNothing(t *testing.T) {
	at := newSite(t)
	at.put(t, "blob.bin", "the first")
	config := at.config(2, "")
	config.Data = []supervisor.Source{{Name: "blob", Source: at.path("blob.bin")}}
	f := run(t, config)
	before := pids(f.untilReady(2))
	at.remove(t, "blob.bin")
	if _, err := f.Reload(t.Context(), nil, "blob"); kindOf(err) != supervisor.KindData || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("Reload: %v", err)
	}
	if _, err := f.Reload(t.Context(), nil, "blub"); kindOf(err) != supervisor.KindConfig || !strings.Contains(err.Error(), "there are: blob") {
		t.Errorf("Reload of what is not there: %v", err)
	}
	if snap := f.Snapshot(); !slices.Equal(pids(snap), before) || len(snap.Data) != 1 || snap.Data[0].Version != 1 {
		t.Errorf("data %+v, workers %v, were %v", snap.Data, pids(snap), before)
	}
}

func TestOnlyWhatChangedIsLoadedAgain(t *testing.T) {
	at := newSite(t)
	at.put(t, "blob.bin", "the bytes")
	config := at.config(1, "")
	config.Data = []supervisor.Source{
		{Name: "blob", Source: at.path("blob.bin")},
		{Name: "made", Source: "cmd:echo x >> " + at.path("runs") + "; echo made"},
	}
	f := run(t, config)
	before := pids(f.untilReady(1))
	for _, step := range []struct {
		what, text string
		names      []string
		change     func()
	}{
		{"nothing", "no worker replaced; blob has not changed, it stays at version 1", []string{"blob"}, func() {}},
		{"the same bytes anew", "no worker replaced; blob has not changed, it stays at version 1", []string{"blob"}, func() { at.put(t, "blob.bin", "the bytes") }},
		{"the output of the command", "no worker replaced; made has not changed, it stays at version 1", []string{"made"}, func() {}},
	} {
		step.change()
		if text, err := f.Reload(t.Context(), nil, step.names...); err != nil || text != step.text {
			t.Errorf("%s: %q, %v", step.what, text, err)
		}
	}
	if now := pids(f.Snapshot()); !slices.Equal(now, before) {
		t.Errorf("workers %v, were %v", now, before)
	}
	text, err := f.Reload(t.Context(), nil)
	if want := "1 worker replaced; blob has not changed, it stays at version 1; made has not changed, it stays at version 1"; err != nil || text != want {
		t.Errorf("Reload of all: %q, %v", text, err)
	}
	if runs, err := os.ReadFile(at.path("runs")); err != nil || strings.Count(string(runs), "x") != 3 {
		t.Errorf("the command ran %d times, %v, want at the start and at two reloads", strings.Count(string(runs), "x"), err)
	}
	if c := f.Counters(); c.Reloads[supervisor.ReloadUnchanged] != 3 || c.Reloads[supervisor.ReloadDone] != 1 {
		t.Errorf("counters: %+v", c)
	}
}

func TestANewConfigurationIsRolledOut(t *testing.T) {
	at := newSite(t)
	at.put(t, "blob.bin", "one")
	config := at.config(2, "")
	f := run(t, config)
	f.untilReady(2)
	next := config
	next.Workers, next.Data = 3, []supervisor.Source{{Name: "blob", Source: at.path("blob.bin")}}
	next.Env = []string{"COLOUR=green"}
	next.Command = slices.Clone(config.Command)
	next.Command[len(next.Command)-1] = watched + `tell(b"STATUS=" + os.environ["COLOUR"].encode())` + "\nsignal.pause()"
	if text, err := f.Reload(t.Context(), func() (supervisor.Config, error) { return next, nil }); err != nil || text != "3 workers replaced; blob is now version 1" {
		t.Errorf("Reload: %q, %v", text, err)
	}
	f.until("three green workers", func(s *supervisor.Snapshot) bool {
		green := 0
		for _, w := range s.Workers {
			if w.StatusText == "green" && len(w.Data) == 1 {
				green++
			}
		}
		return green == 3 && len(s.Workers) == 3
	})
	bad := next
	bad.Ready = "soon"
	if _, err := f.Reload(t.Context(), func() (supervisor.Config, error) { return bad, nil }); kindOf(err) != supervisor.KindConfig {
		t.Errorf("Reload of a bad configuration: %v", err)
	}
	other := next
	other.Listen = []string{":0"}
	if _, err := f.Reload(t.Context(), func() (supervisor.Config, error) { return other, nil }); kindOf(err) != supervisor.KindConfig {
		t.Errorf("Reload with another listener: %v", err)
	}
	next.Workers = 1
	if _, err := f.Reload(t.Context(), func() (supervisor.Config, error) { return next, nil }); err != nil || len(f.Snapshot().Workers) != 1 {
		t.Errorf("Reload with fewer workers: %v, %d rows", err, len(f.Snapshot().Workers))
	}
}

func TestASecondReloadWaitsAndAThirdJoinsIt(t *testing.T) {
	at := newSite(t)
	f := run(t, at.config(2, ""))
	f.untilReady(2)
	at.put(t, "gate", "")
	var wg sync.WaitGroup
	errs := make(chan error, 5)
	reload := func() {
		wg.Go(func() { _, err := f.Reload(t.Context(), nil); errs <- err })
	}
	reload()
	f.until("a roll", func(s *supervisor.Snapshot) bool {
		return s.Supervisor.Operation != nil && s.Supervisor.Operation.Phase == "rolling"
	})
	for range 4 {
		reload()
	}
	snap := f.until("one that waits", func(s *supervisor.Snapshot) bool {
		return s.Supervisor.Operation != nil && s.Supervisor.Operation.Queued == 1
	})
	if o := snap.Supervisor.Operation; o.Kind != "reload" || o.Total != 2 || o.Done != 0 {
		t.Errorf("operation: %+v", o)
	}
	at.remove(t, "gate")
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Errorf("Reload: %v", err)
		}
	}
	if c := f.Counters(); c.Spawns != 6 || c.Reloads[supervisor.ReloadDone] != 2 {
		t.Errorf("counters: %+v, want two rolls", c)
	}
}

func TestAStopDuringARollStopsEverything(t *testing.T) {
	at := newSite(t)
	f := run(t, at.config(2, ""))
	f.untilReady(2)
	at.put(t, "gate", "")
	failed := make(chan error, 1)
	go func() { _, err := f.Reload(t.Context(), nil); failed <- err }()
	f.until("a roll", func(s *supervisor.Snapshot) bool { return len(pids(s)) == 3 })
	f.Stop()
	if err := f.wait(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if err := <-failed; kindOf(err) != supervisor.KindFleet || !strings.Contains(err.Error(), "stop") {
		t.Errorf("Reload: %v", err)
	}
}

func TestAFleetThatGivesUpDoesNotWaitForALoad(t *testing.T) {
	at := newSite(t)
	config := at.config(1, "")
	f := run(t, config)
	first := f.untilReady(1)
	next := config
	next.Data = []supervisor.Source{{Name: "slow", Source: "cmd:touch " + at.path("loading") + "; exec sleep 1000"}}
	failed := make(chan error, 1)
	go func() {
		_, err := f.Reload(t.Context(), func() (supervisor.Config, error) { return next, nil })
		failed <- err
	}()
	f.until("the load", func(*supervisor.Snapshot) bool { _, err := os.Stat(at.path("loading")); return err == nil })
	at.put(t, "broken", "")
	if err := syscall.Kill(*first.Workers[0].PID, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := f.wait(); kindOf(err) != supervisor.KindFleet {
		t.Errorf("Run: %v", err)
	}
	if err := <-failed; kindOf(err) != supervisor.KindFleet {
		t.Errorf("Reload: %v", err)
	}
}

func TestTheSavingDoesNotGrowWhileTwoVersionsLive(t *testing.T) {
	at := newSite(t)
	at.put(t, "blob.bin", strings.Repeat("1", 1<<20))
	config := at.config(2, "")
	config.Data = []supervisor.Source{{Name: "blob", Source: at.path("blob.bin")}}
	f := run(t, config)
	f.untilReady(2)
	full := func(want int64) func(*supervisor.Snapshot) bool {
		return func(s *supervisor.Snapshot) bool { return s.Memory.SavedFull != nil && *s.Memory.SavedFull == want }
	}
	f.until("one of two copies saved", full(1<<20))
	at.put(t, "blob.bin", strings.Repeat("2", 1<<20))
	at.put(t, "gate", "")
	done := make(chan error, 1)
	go func() { _, err := f.Reload(t.Context(), nil); done <- err }()
	f.until("two versions, and nothing saved by the new one", func(s *supervisor.Snapshot) bool {
		return len(s.Data) == 2 && len(pids(s)) == 3 && full(0)(s)
	})
	at.remove(t, "gate")
	if err := <-done; err != nil {
		t.Error(err)
	}
	f.until("one of two copies saved again", full(1<<20))
}
