// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// What the sampler says of real processes, against smaps and smaps_rollup.

import (
	"fmt"
	"testing"
	"time"
)

const segPages = 4096 // 16 MiB

// checkWorker compares every figure of a worker with the kernel's own, read from smaps and smaps_rollup of its
// processes. libs is how far the kernel's other figures may have moved between the two readings.
func checkWorker(t *testing.T, w *Worker, seg Segment, pids ...int) {
	t.Helper()
	const libs = 256 << 10
	if w == nil {
		t.Fatal("there is no such worker")
	}
	if !w.Sample.Exact || w.Sample.Error != "" {
		t.Errorf("sample = %+v", w.Sample)
	}
	k := kernelFigures(t, seg, pids...)
	checkNear(t, "rss", w.RSS, k.all["Rss"], libs)
	checkNear(t, "pss", w.PSS, k.all["Pss"], libs)
	checkNear(t, "uss", w.USS, k.all["Private_Clean"]+k.all["Private_Dirty"], libs)
	d := w.Data[0]
	if len(pids) > 1 {
		checkNear(t, "private", w.Private, k.all["Pss_Anon"], libs)
	} else {
		checkNear(t, "private", w.Private, k.all["Anonymous"], libs)
		checkNear(t, "cow", d.COW, k.seg["Anonymous"], 0)
	}
	checkNear(t, "data rss", d.RSS, k.seg["Rss"], 0)
	checkNear(t, "data pss", d.PSS, k.seg["Pss"]+k.mappings*512, k.mappings*512+1)
	checkNear(t, "mapped", w.Mapped, k.seg["Rss"]-k.seg["Anonymous"], 0)
	other := k.all["Pss_File"] + k.all["Pss_Shmem"] - (k.seg["Pss"] - *d.COW)
	checkNear(t, "other shared", w.OtherShared, other, libs)
}

// Each case says what each of its workers does.
func TestEveryFigureOfEveryWorkerIsTheKernels(t *testing.T) {
	all := fmt.Sprint("touch 0 0 ", segPages)
	for _, tc := range []struct {
		name    string
		workers [][]string
	}{
		{"one maps all", [][]string{{"shared 3 0 4096", all}}},
		{"one maps nothing", [][]string{{"sync"}}},
		{"three map all", [][]string{{"shared 3 0 4096", all}, {"shared 3 0 4096", all}, {"shared 3 0 4096", all}}},
		{"eight touch half", [][]string{
			{"shared 3 0 4096", "touch 0 0 2048"},
			{"shared 3 0 4096", "touch 0 0 2048"},
			{"shared 3 0 4096", "touch 0 0 2048"},
			{"shared 3 0 4096", "touch 0 0 2048"},
			{"shared 3 0 4096", "touch 0 0 2048"},
			{"shared 3 0 4096", "touch 0 0 2048"},
			{"shared 3 0 4096", "touch 0 0 2048"},
			{"shared 3 0 4096", "touch 0 0 2048"},
		}},
		{"different halves that overlap", [][]string{
			{"shared 3 0 4096", "touch 0 0 2048"},
			{"shared 3 0 4096", "touch 0 1024 3072"},
			{"shared 3 0 4096", "touch 0 2048 4096"},
		}},
		{"parts mapped at an offset", [][]string{
			{"shared 3 1024 2048", "touch 0 0 2048"}, {"shared 3 512 1000", "touch 0 0 1000"},
		}},
		{"private, not written", [][]string{{"private 3 0 4096", all}, {"private 3 0 4096", all}}},
		{"private, written in part", [][]string{
			{"private 3 0 4096", all, "write 0 0 1000 1"},
			{"private 3 0 4096", all, "write 0 3 4096 256"},
			{"shared 3 0 4096", all},
		}},
		{"private, every second page written", [][]string{
			{"private 3 0 4096", all, "write 0 0 4096 2"}, {"private 3 0 4096", all, "write 0 1 4096 2"},
		}},
		{"private, written without reading", [][]string{{"private 3 0 4096", "write 0 100 200 1"}}},
		{"mapped twice in one process", [][]string{
			{"shared 3 0 4096", all, "private 3 1024 2048", "touch 1 0 2048", "write 1 0 10 1"},
			{"shared 3 0 4096", all},
		}},
		{"memory of its own", [][]string{
			{"shared 3 0 4096", all, "anon 8388608"}, {"shared 3 0 4096", all, "anonshared 8388608"},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			seg, f := newSegment(t, "seg", segPages)
			var targets []Target
			var children []*child
			for i, commands := range tc.workers {
				c := start(t, f)
				c.do(commands...)
				targets, children = append(targets, target(i, c, seg)), append(children, c)
			}
			s := newTestSampler(t)
			s.Update(targets, []Segment{seg})
			s.after(0)
			fleet := s.after(2 * time.Second) // the second round, after the set of ready workers has settled
			for i, c := range children {
				checkWorker(t, fleet.Workers[Key{Worker: i, Incarnation: 1}], seg, c.pid)
			}
			checkSum(t, fleet, children)
		})
	}
}

// checkSum compares the fleet's PSS with the sum of the rollups: within 1 %.
func checkSum(t *testing.T, fleet *Fleet, children []*child) {
	t.Helper()
	var want int64
	var rows []*Worker
	for i, c := range children {
		want += readSmaps(t, c.pid, "smaps_rollup")[0].fields["Pss"]
		rows = append(rows, fleet.Workers[Key{Worker: i, Incarnation: 1}])
	}
	checkNear(t, "Σ pss", Totals(Account{Workers: rows}).PSS, want, want/100)
}
