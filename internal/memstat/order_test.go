// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// What is read when, what it costs, and that the sampler tells the truth about it.

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestT0AllocatesNothing(t *testing.T) {
	seg, f := newSegment(t, "seg", 16)
	s := newTestSampler(t)
	var targets []Target
	for i := range 4 {
		c := start(t, f)
		c.do("shared 3 0 16")
		targets = append(targets, target(i, c, seg))
	}
	s.Update(targets, []Segment{seg})
	s.after(0)
	if n := testing.AllocsPerRun(50, func() {
		for _, w := range s.workers {
			if s.status(w) || w.moved() {
				t.Error("something changed")
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations for the status of %d workers", n, len(targets))
	}
}

func TestWorkersThatChangedAreReadFirstThenTheStalestThenTheLargest(t *testing.T) {
	seg, f := newSegment(t, "seg", segPages)
	s := newTestSampler(t)
	var children []*child
	var targets []Target
	for i := range 6 {
		c := start(t, f)
		c.do("private 3 0 4096")
		children, targets = append(children, c), append(targets, target(i, c, seg))
	}
	children[5].do("touch 0 0 4096")
	s.Update(targets, []Segment{seg})
	s.after(0)
	s.after(2 * time.Second) // the rollups of the whole fleet
	for _, w := range s.workers {
		w.scanCost, w.sumCost = time.Millisecond, 0 // what it took is not what this is about
	}
	s.workers[2].scanned = s.workers[2].scanned.Add(-5 * time.Second)
	children[1].do("anon 16777216")
	children[3].do("touch 0 0 2048")
	children[4].do("fork 0 0 0")
	s.now = s.now.Add(15 * time.Second)
	for _, w := range s.workers {
		if s.walk(w) {
			w.tree.mark(s.now)
		}
	}
	var order []int
	for _, w := range s.order(s.now, 6*time.Millisecond) {
		order = append(order, w.Worker)
	}
	changed := slices.Sorted(slices.Values(order[:3]))
	if !slices.Equal(changed, []int{1, 3, 4}) || !slices.Equal(order[3:], []int{2, 5, 0}) {
		t.Errorf("order = %v", order)
	}
}

// One worker that takes a second among 63 of 10 ms: in turn, each would wait 163 seconds for the next.
func TestAHugeWorkerDoesNotStarveTheOthersNorIsItForgotten(t *testing.T) {
	const workers, share, run = 64, 0.01, 4 * time.Hour
	costs := make([]time.Duration, workers)
	var round time.Duration
	for i := range costs {
		costs[i] = 10 * time.Millisecond
		if i == 0 {
			costs[i] = time.Second
		}
		round += costs[i]
	}
	start := time.Unix(1000, 0)
	last := slices.Repeat([]time.Time{start}, workers)
	worst := make([]time.Duration, workers)
	var d debt
	var taken time.Duration
	for now := start; now.Before(start.Add(run)); now = now.Add(time.Second) {
		d.pay(now, share)
		for d.may(round) {
			first, most := -1, 0.0
			for i := range costs {
				u := urgency(now.Sub(last[i]), i == 1, costs[i], round/workers)
				if u > most && (d.large == 0 || costs[i] <= ordinary(share, 10*time.Second)) {
					first, most = i, u
				}
			}
			if first < 0 {
				break
			}
			if now.Sub(start) > time.Hour { // the ages of the beginning are not those of the long run
				worst[first] = max(worst[first], now.Sub(last[first]))
			}
			last[first] = now
			taken += costs[first]
			d.add(costs[first], ordinary(share, 10*time.Second))
		}
	}
	others := slices.Max(worst[2:])
	t.Logf("huge %v, changing %v, the others %v", worst[0], worst[1], others)
	if others > 120*time.Second || worst[0] > 10*time.Minute || worst[0] < others || worst[1] > others/2 {
		t.Errorf("waits: huge %v, changing %v, the others %v", worst[0], worst[1], others)
	}
	if got := taken.Seconds() / run.Seconds(); got > share+2*round.Seconds()/run.Seconds() {
		t.Errorf("%.4f of a core was taken", got)
	}
}

// Ten minutes of made-up time with real work, whose processor time is measured by another clock than the sampler's.
func TestTheWholeSamplerKeepsToItsBudget(t *testing.T) {
	const share, minutes, pages = 0.001, 10, 4 * segPages
	seg, f := newSegment(t, "seg", pages)
	s := newTestSampler(t)
	s.options.Budget = share
	var targets []Target
	var children []*child
	for i := range 4 {
		c := start(t, f)
		c.do(fmt.Sprint("private 3 0 ", pages), fmt.Sprint("touch 0 0 ", pages), fmt.Sprint("write 0 0 ", pages, " 2"))
		children, targets = append(children, c), append(targets, target(i, c, seg))
	}
	s.Update(targets, []Segment{seg})
	s.after(0) // the first samples are outside the budget
	began := s.now
	scans := map[time.Time]bool{}
	s.cpuStart = threadCPU()
	before := rusage(t)
	for next := s.now; next.Before(began.Add(minutes * time.Minute)); {
		s.now = next
		next = s.step(s.now)
		scans[*s.Latest().Workers[targets[0].Key].Sample.At] = true
		if len(scans) == 2 {
			children[2].do("anon 8388608")
		}
	}
	used, told := rusage(t)-before, s.Latest().Cost.CPUSeconds
	scan, sum := s.roundCost() // a round may be taken at once, and be paid for afterwards
	if allowed := share * minutes * 60; used.Seconds() > allowed*1.15+1.5*(scan+sum+roundSlack).Seconds() {
		t.Errorf("%v of processor time in %d minutes, the budget is %.2f s, a round %v", used, minutes, allowed, scan+sum)
	}
	if len(scans) < 2 {
		t.Errorf("%d samples of a worker", len(scans))
	}
	if d := told - used.Seconds(); d > 0.05 || d < -0.05-used.Seconds()/20 {
		t.Errorf("the sampler says %.3f s, the kernel %v", told, used)
	}
	t.Logf("%v of processor time, %d samples of a worker", used, len(scans))
}

// rusage is the processor time of this thread.
func rusage(t *testing.T) time.Duration {
	t.Helper()
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &r); err != nil {
		t.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// procWithout is a /proc of this process and some others, in which each has no file of that name.
func procWithout(t *testing.T, name string, pids ...int) string {
	t.Helper()
	proc := t.TempDir()
	link := func(from, to string) {
		if err := os.Symlink(from, to); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"meminfo", "stat", "uptime", "zoneinfo"} {
		link("/proc/"+file, filepath.Join(proc, file))
	}
	for _, pid := range append(pids, os.Getpid()) {
		dir := filepath.Join(proc, strconv.Itoa(pid))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{"status", "stat", "statm", "maps", "pagemap", "smaps_rollup", "task", "fd"} {
			if file != name {
				link(fmt.Sprintf("/proc/%d/%s", pid, file), filepath.Join(dir, file))
			}
		}
	}
	link(strconv.Itoa(os.Getpid()), filepath.Join(proc, "self"))
	return proc
}

func TestAKernelWithoutAFileOfProc(t *testing.T) {
	seg, f := newSegment(t, "seg", 256)
	c := start(t, f)
	c.do("private 3 0 256", "touch 0 0 256", "write 0 0 5 1")
	for _, name := range []string{"none of them", "smaps_rollup", "pagemap"} {
		s := newTestSampler(t)
		s.state = newState(procWithout(t, name, c.pid))
		s.patience = time.Hour
		s.Update([]Target{target(0, c, seg)}, []Segment{seg})
		s.after(0)
		fleet := s.after(2 * time.Second)
		row := fleet.Workers[Key{Worker: 0, Incarnation: 1}]
		if row.RSS == nil || row.Private == nil || row.PageTables == nil || row.FDs == nil || row.CPUSeconds == nil {
			t.Errorf("without %s: %+v", name, row)
		}
		if name == "none of them" {
			checkWhole(t, *row, 1)
			continue
		}
		if missing := fmt.Sprintf("/%s: no such file", name); !strings.Contains(row.Sample.Error, missing) ||
			!strings.Contains(row.Sample.Error, "CONFIG_PROC_PAGE_MONITOR") {
			t.Errorf("without %s: %q", name, row.Sample.Error)
		}
		m := Totals(Account{
			Workers: []*Worker{row}, Data: seg.Size, Newest: seg.Size, Ready: 1, Full: seg.Size, Supervisor: fleet.Self.PSS,
		})
		if m.RSS == nil || m.Private == nil || m.Used != nil || m.WithoutSharing != nil || row.Sample.Exact {
			t.Errorf("without %s: %+v %+v", name, row.Sample, m)
		}
		switch d := row.Data[0]; name {
		case "smaps_rollup":
			checkNear(t, "cow", d.COW, 5*int64(os.Getpagesize()), 0)
			checkNear(t, "data", d.RSS, seg.Size, 0)
			if row.PSS != nil || row.USS != nil || row.OtherShared != nil || m.Saved == nil || fleet.Self.PSS != nil {
				t.Errorf("without smaps_rollup: %+v %+v", row, fleet.Self)
			}
		case "pagemap":
			if row.PSS == nil || d.RSS != nil || d.PSS != nil || d.COW != nil || row.Mapped != nil || m.Saved != nil {
				t.Errorf("without pagemap: %+v", row)
			}
		}
	}
}

// A read that is known to take a while is the longest call.
func TestTheLongestCallIsTold(t *testing.T) {
	const least = 20 * time.Millisecond
	seg, f := newSegment(t, "seg", 16)
	c := start(t, f)
	c.do("shared 3 0 16", "touch 0 0 16")
	proc := procWithout(t, "smaps_rollup", c.pid)
	path := filepath.Join(proc, strconv.Itoa(c.pid), "smaps_rollup")
	if err := os.WriteFile(path, fixture(t, "linux-6.18/smaps_rollup"), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	fd := file.Fd()
	// Who opens a leased file waits until its holder gives it up.
	if _, err := unix.FcntlInt(fd, unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Skipf("cannot lease a file here: %v", err)
	}
	given := make(chan error, 1)
	go func() {
		kind, err := unix.FcntlInt(fd, unix.F_GETLEASE, 0)
		for err == nil && kind == unix.F_WRLCK {
			kind, err = unix.FcntlInt(fd, unix.F_GETLEASE, 0)
		}
		for waiting := time.Now(); time.Since(waiting) < least; {
		}
		_, failed := unix.FcntlInt(fd, unix.F_SETLEASE, unix.F_UNLCK)
		given <- errors.Join(err, failed)
	}()
	s := newTestSampler(t)
	s.state = newState(proc)
	s.patience = time.Hour
	s.Update([]Target{target(0, c, seg)}, []Segment{seg})
	at := s.now
	fleet := s.after(0)
	if err := <-given; err != nil {
		t.Fatal(err)
	}
	row := fleet.Workers[Key{Worker: 0, Incarnation: 1}]
	if got := fleet.Cost; got.LongestCall < least.Seconds() || got.LastTook < got.LongestCall || row.Sample.Took != got.LastTook {
		t.Errorf("the longest call is %v of %v, the row took %v", got.LongestCall, got.LastTook, row.Sample.Took)
	}
	if row.Sample.At == nil || !row.Sample.At.Equal(at) {
		t.Errorf("the sample is of %v, want %v", row.Sample.At, at)
	}
	if got := s.after(29 * time.Minute).Cost.LongestCall; got < least.Seconds() {
		t.Errorf("half an hour later the longest call is %v", got)
	}
}

func TestTheLongestCallIsForgottenInAnHour(t *testing.T) {
	const long = time.Second
	begun := time.Now()
	for _, c := range []struct {
		after  []time.Duration // when it is asked for
		forget bool            // by the last time
	}{
		{[]time.Duration{0}, false},
		{[]time.Duration{29 * time.Minute}, false},
		{[]time.Duration{20 * time.Minute, 40 * time.Minute, 59 * time.Minute}, false},
		{[]time.Duration{20 * time.Minute, 40 * time.Minute, 61 * time.Minute}, true},
		{[]time.Duration{25 * time.Hour}, true},
	} {
		var calls callTimer
		calls.done(begun.Add(-long))
		var last time.Duration
		for _, later := range c.after {
			last = calls.lately(begun.Add(later))
		}
		if (last < long) != c.forget {
			t.Errorf("asked for after %v the longest call is %v", c.after, last)
		}
		calls.done(time.Now().Add(-2 * long))
		if last = calls.lately(begun.Add(c.after[len(c.after)-1])); last < 2*long {
			t.Errorf("behind that a longer one is %v", last)
		}
	}
}

func TestACallIsAsLongAsTheMachineAllows(t *testing.T) {
	const start, limit = 1 << 30, 1 << 40
	reach := func(p *pace) uint64 { return p.end(start, limit) - start }
	p := pace{most: privateReach}
	if got := reach(&p); got != firstReach {
		t.Errorf("the first call covers %d", got)
	}
	p.took(2<<20, 15*time.Microsecond)
	if got := reach(&p); got != smallReach {
		t.Errorf("on a fast machine a call covers %d", got)
	}
	p.took(16<<20, 2400*time.Microsecond)
	if got := reach(&p); got != 1<<20 {
		t.Errorf("on a slow machine a call covers %d, want 0.15 ms of 0.15 ms a MiB", got)
	}
	p.took(2<<20, 20*time.Millisecond)
	if got := reach(&p); got != leastReach {
		t.Errorf("after an outlier a call covers %d", got)
	}
	for range 100 {
		p.took(1<<20, 5*time.Microsecond)
	}
	if got := reach(&p); got != smallReach {
		t.Errorf("after many fast ones a call covers %d", got)
	}
	p.huge = 1 << 30
	if got := reach(&p); got != privateReach {
		t.Errorf("over huge pages a call covers %d", got)
	}
	slow := pace{most: privateReach, huge: 1 << 30}
	slow.took(1<<20, 50*time.Microsecond)
	if got := reach(&slow); got > 12<<20 || got < 10<<20 {
		t.Errorf("over huge pages of a slow machine a call covers %d, want 0.6 ms of 50 µs a MiB", got)
	}
	if end := p.end(start+4096, limit); end%(2<<20) != 0 || end <= start {
		t.Errorf("a call ends within a huge page: %#x", end)
	}
	if end := p.end(start, start+4096); end != start+4096 {
		t.Errorf("a call goes beyond the mapping: %#x", end)
	}
}

// The next call begins where this one ends, and the kernel refuses a start within a page: whatever a call took, and
// wherever the mapping begins.
func TestEveryCallEndsAtAPage(t *testing.T) {
	const page, limit = 4096, 1 << 40
	random := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		p := pace{most: privateReach, huge: random.Uint64N(1 << 30)}
		p.took(leastReach, time.Duration(random.Uint64N(uint64(time.Millisecond))))
		start := random.Uint64N(1<<20) * page
		if end := p.end(start, limit); end%page != 0 || end <= start {
			t.Fatalf("a call from %#x ends at %#x, with %+v", start, end, p)
		}
	}
}
