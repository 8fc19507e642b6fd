// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: while ready workers are killed at random, one every 250 ms, somebody always takes connections; two seconds after
// the last kill all are ready again; no zombie, descriptor or thread of preforkd has gathered; the books are right.

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/preforkd/preforkd/supervisor"
)

func TestTwoHundredKillsLeaveNoTrace(t *testing.T) {
	const workers, warmup = 4, 10
	kills := 200
	if testing.Short() {
		kills = 20
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	f := start(t, spec{
		flags:   []string{"-w", strconv.Itoa(workers), "-l", "127.0.0.1:0"},
		command: []string{python(t, nil), "-S", script(t, "accept.py")},
	})
	address := f.untilReady(workers).Listen[0].Address

	every := time.NewTicker(250 * time.Millisecond) // the scenario, not a wait
	defer every.Stop()
	done := 0
	killed := map[int]bool{} // two ticks may come close together, and a dead worker be shown as ready for a moment
	kill := func() {
		<-every.C
		var victims []supervisor.Worker
		f.until("a ready worker", func(s *supervisor.Snapshot) bool {
			victims = slices.DeleteFunc(ready(s), func(w supervisor.Worker) bool { return killed[*w.PID] })
			return len(victims) > 0
		})
		victim := victims[random.IntN(len(victims))]
		killed[*victim.PID] = true
		if err := syscall.Kill(*victim.PID, syscall.SIGKILL); err != nil {
			t.Fatalf("cannot kill worker %d: %v", victim.ID, err)
		}
		done++
	}
	for range warmup {
		kill()
	}
	f.until("exact rows of living workers", func(s *supervisor.Snapshot) bool { // the sampler has opened what it keeps open of each
		exact := slices.DeleteFunc(ready(s), func(w supervisor.Worker) bool { return killed[*w.PID] || !w.Sample.Exact })
		return len(exact) == workers
	})
	descriptors, threads := links(t, f.pid), entries(t, f.pid, "task")

	answered := f.traffic(address)
	for done < kills {
		kill()
	}
	begin := time.Now()
	var snap *supervisor.Snapshot
	within(t, 2*time.Second, "all workers are ready after the last kill", func() bool {
		var err error
		snap, err = f.snapshot()
		return err == nil && len(ready(snap)) == workers && sum(snap, respawns) == kills
	})
	t.Logf("all ready %v after the last of %d kills; %d requests answered on the way",
		time.Since(begin).Round(time.Millisecond), kills, answered())

	live := map[int]bool{}
	for _, w := range snap.Workers {
		live[*w.PID] = true
		if w.LastExit != nil && (w.LastExit.Signal != "SIGKILL" || w.LastExit.Reason != "crash") {
			t.Errorf("worker %d: last exit %+v", w.ID, w.LastExit)
		}
	}
	for _, p := range children(t, f.pid) {
		if !live[p.pid] || p.state == "Z" {
			t.Errorf("preforkd has a child that is no worker: %+v", p)
		}
	}
	if got := sum(snap, func(w supervisor.Worker) int { return w.Incarnation }); got != workers+kills {
		t.Errorf("incarnations add up to %d, want %d", got, workers+kills)
	}
	for name, want := range map[string]int{
		"preforkd_worker_spawns_total":                        workers + kills,
		`preforkd_worker_exits_total{reason="crash"}`:         kills,
		`preforkd_worker_exits_total{reason="stop"}`:          0,
		`preforkd_worker_exits_total{reason="spawn-failed"}`:  0,
		`preforkd_worker_exits_total{reason="start-timeout"}`: 0,
	} {
		if got := f.metric(name); got != float64(want) {
			t.Errorf("%s = %v, want %d", name, got, want)
		}
	}

	f.untilExact(workers)
	for deadline := time.Now().Add(patience); entries(t, f.pid, "fd") > len(descriptors); f.untilExact(workers) {
		if time.Now().After(deadline) {
			t.Errorf("preforkd had these descriptors after %d kills:\n%v\nand has these after %d:\n%v", warmup, descriptors, kills, links(t, f.pid))
			break
		}
	}
	// Go keeps a thread for ever that it once needed for calls that happened to block at the same time. One or two more
	// are no leak: that would be one for each kill, or each worker.
	now := entries(t, f.pid, "task")
	t.Logf("descriptors %d, threads %d → %d, peak RSS %.1f MiB", len(descriptors), threads, now, float64(status(t, f.pid, "VmHWM"))/mib)
	if now > threads+2 {
		t.Errorf("preforkd had %d threads after %d kills and has %d after %d", threads, warmup, now, kills)
	}
	f.stop()
}

func respawns(w supervisor.Worker) int { return w.RespawnCount }

func sum(snap *supervisor.Snapshot, field func(supervisor.Worker) int) (total int) {
	for _, w := range snap.Workers {
		total += field(w)
	}
	return total
}

// traffic sends requests until the returned function is called, which tells how many were answered. A worker that is
// killed takes its connection with it, but no connection is ever refused: the socket is preforkd's.
func (f *fleet) traffic(address string) (answered func() int) {
	ctx, cancel := context.WithCancel(f.t.Context())
	var wg sync.WaitGroup
	count := 0
	wg.Go(func() {
		pace := time.NewTicker(20 * time.Millisecond)
		defer pace.Stop()
		for ctx.Err() == nil {
			switch _, err := get(address); {
			case err == nil:
				count++
			case errors.Is(err, syscall.ECONNREFUSED):
				f.t.Errorf("a connection was refused: %v", err)
			}
			<-pace.C
		}
	})
	stop := func() int {
		cancel()
		wg.Wait()
		return count
	}
	f.t.Cleanup(func() { stop() })
	return func() int {
		if stop() == 0 {
			f.t.Error("no request was answered")
		}
		return count
	}
}
