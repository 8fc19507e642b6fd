// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: eight workers that each read all of a gigabyte hold it once; the figures of preforkd agree with those that the
// kernel gives anybody; preforkd itself stays small; after a kill -9 of it nobody is left and the memory is back. And a
// worker's row is its process tree.

import (
	"fmt"
	"math"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/preforkd/preforkd/supervisor"
)

// promptly is in how much time no worker may be left after kill -9 of preforkd.
const promptly = 200 * time.Millisecond

func TestEightWorkersShareOneGigabyte(t *testing.T) {
	const workers = 8
	size := int64(1 << 30)
	if available := kilobytes(t, "/proc/meminfo", "MemAvailable"); available < 6<<30 {
		size = 256 * mib
		t.Logf("with %d MiB instead of 1 GiB: only %d MiB of memory are available", size/mib, available/mib)
	}
	path, digest := blob(t, size)
	before := kilobytes(t, "/proc/meminfo", "Shmem")
	address := freeAddress(t)
	f := start(t, spec{
		flags:   []string{"-w", "8", "-d", "blob=" + path, "--ready", "notify", "--start-timeout", "5m", "--stats", address},
		command: []string{python(t, nil), script(t, "reader.py")},
	})
	// Libraries are read again a second after the last worker became ready; until then some are counted with fewer sharers.
	var snap *supervisor.Snapshot
	var measured int64
	f.untilDigested(workers)
	within(t, patience, "memory.pss agrees with smaps_rollup within 1 %", func() bool {
		snap = f.untilExact(workers)
		measured = pss(t, snap)
		return snap.Memory.PSS != nil && math.Abs(float64(*snap.Memory.PSS-measured)) <= 0.01*float64(measured)
	})
	if body, err := get(address + "/stats"); err != nil || !strings.Contains(body, digest) {
		t.Errorf("the same over TCP: %v, %s", err, body)
	}

	for _, w := range snap.Workers {
		if w.StatusText != digest {
			t.Errorf("worker %d read %q, want %s", w.ID, w.StatusText, digest)
		}
		if len(w.Data) != 1 || w.Data[0].RSS == nil || *w.Data[0].RSS != size {
			t.Errorf("worker %d: data %+v, want all %d bytes resident", w.ID, w.Data, size)
		}
	}
	if d := snap.Data[0]; len(snap.Data) != 1 || *d.SHA256 != digest || *d.Size != size || d.Workers != workers {
		t.Errorf("data: %+v", snap.Data)
	}
	memory := snap.Memory
	if memory.Copies == nil || *memory.Copies > 1.01 || *memory.Copies < 1 {
		t.Errorf("copies = %v, want at most 1.01", value(memory.Copies))
	}
	// 6.9 GiB of the 7 that seven more copies of a gigabyte would take.
	if saved := int64(float64(size) * 6.9); memory.Saved == nil || *memory.Saved < saved {
		t.Errorf("saved = %v, want at least %d", value(memory.Saved), saved)
	}
	t.Logf("copies %.4f, saved %.3f GiB, Σ PSS %d by preforkd, %d by smaps_rollup", value(memory.Copies),
		value(memory.Saved)/(1<<30), int64(value(memory.PSS)), measured)

	// The peak, not just the present: "stays under". While it loads, the windows of the segment that are being filled, 8 MiB for
	// each of up to four threads, count in its RSS, though they are data.
	const windows = 32 * mib
	own, peak := status(t, f.pid, "VmRSS"), status(t, f.pid, "VmHWM")
	t.Logf("preforkd's own RSS %.1f MiB, peak %.1f MiB", float64(own)/mib, float64(peak)/mib)
	if own >= 20*mib || peak >= 20*mib+windows {
		t.Errorf("preforkd's own RSS is %d and was %d bytes, want less than 20 MiB, and %d MiB of windows", own, peak, windows/mib)
	}
	// Without this the last check could not fail. Half, since others on this machine may give memory back meanwhile.
	if held := kilobytes(t, "/proc/meminfo", "Shmem") - before; held < size/2 {
		t.Errorf("the machine's shared memory has grown by %d, want about %d", held, size)
	}

	// The last worker is listed until the kernel has freed the segment: 0.15 s a gigabyte of small pages on the machine where
	// this was written, next to nothing of huge ones.
	if gone := f.killed(snap); gone > promptly {
		t.Errorf("workers were left for %v after kill -9 of preforkd, want %v at most", gone, promptly)
	}
	within(t, patience, "the memory is back", func() bool {
		return kilobytes(t, "/proc/meminfo", "Shmem") < before+8*mib
	})
}

// killed is kill -9 of preforkd. It returns how long it took until no worker was left.
func (f *fleet) killed(snap *supervisor.Snapshot) time.Duration {
	f.t.Helper()
	var workers []int
	for _, w := range snap.Workers {
		workers = append(workers, w.PIDs...)
	}
	if len(workers) < len(snap.Workers) || slices.ContainsFunc(workers, func(pid int) bool { return !left(pid) }) {
		f.t.Fatalf("no workers to kill: %v", workers)
	}
	begin := time.Now()
	if err := syscall.Kill(f.pid, syscall.SIGKILL); err != nil {
		f.t.Fatal(err)
	}
	within(f.t, patience, "no worker is left after kill -9 of preforkd", func() bool { return !slices.ContainsFunc(workers, left) })
	gone := time.Since(begin)
	f.t.Logf("no worker is left %v after kill -9 of preforkd", gone.Round(time.Millisecond))
	<-f.ended
	return gone
}

// gunicorn maps the data in its child: the process that preforkd started has none of it.
func TestARowIsAWorkersProcessTree(t *testing.T) {
	array := newArray(64*mib, true)
	f := start(t, spec{
		flags:   []string{"-w", "2", "-d", "emb=" + array.save(t), "-l", "127.0.0.1:0"},
		command: []string{venv(t, "gunicorn"), "data_app:wsgi"},
		env:     []string{"PYTHONPATH=" + script(t, ".")},
	})
	snap := f.untilExact(2)
	for _, w := range snap.Workers {
		if len(w.PIDs) != 2 || w.PIDs[0] != *w.PID {
			t.Fatalf("worker %d: processes %v, want gunicorn's master %d and its child", w.ID, w.PIDs, *w.PID)
		}
		if maps(t, w.PIDs[0]) || !maps(t, w.PIDs[1]) {
			t.Errorf("worker %d: want the data mapped by the child, and by it alone", w.ID)
		}
		if w.RSS == nil || *w.RSS < array.size() {
			t.Errorf("worker %d: rss = %v, want at least the segment, %d", w.ID, value(w.RSS), array.size())
		}
		if d := w.Data[0]; d.RSS == nil || *d.RSS != array.size() || d.COW == nil || *d.COW != 0 {
			t.Errorf("worker %d: data %+v", w.ID, d)
		}
	}
	body, err := get(snap.Listen[0].Address)
	var pid, sum int64
	if _, scan := fmt.Sscan(body, &pid, &sum); err != nil || scan != nil || sum != array.sum() {
		t.Errorf("answer %q, %v, want a pid and %d", body, err, array.sum())
	}
	if !slices.ContainsFunc(snap.Workers, func(w supervisor.Worker) bool { return w.PIDs[1] == int(pid) }) {
		t.Errorf("process %d has answered, and is in no row", pid)
	}
	f.stop()
}

// pss is the sum over all processes of all workers, as the kernel tells anybody.
func pss(t *testing.T, snap *supervisor.Snapshot) (sum int64) {
	t.Helper()
	for _, w := range snap.Workers {
		for _, pid := range w.PIDs {
			sum += kilobytes(t, fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss")
		}
	}
	return sum
}

// value is what a field holds, NaN for null.
func value[T int64 | float64](field *T) float64 {
	if field == nil {
		return math.NaN()
	}
	return float64(*field)
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
