// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// What must be equal, and where the kernel cuts.

import (
	"fmt"
	"math"
	"os"
	"slices"
)

// kib is what the kernel cuts off: smaps_rollup prints whole KiB, and Pss is a sum of fractions. So each value of it is
// up to a KiB too low, once for each process of a tree. Counts of pages and Private_Clean and Private_Dirty are whole
// pages: nothing is cut.
const kib = 1 << 10

// vdso is by how much a process's Pss may move between two readings without its doing: its vdso, two pages, is shared
// with all processes of the machine, of which some start and end meanwhile.
const vdso = 64

// compare checks all workers, and the fleet. Without the dear figures those are left out that come from smaps_rollup.
func (f *fleetUnderTest) compare(fleet *Fleet, want []truth, dear bool) {
	f.t.Helper()
	for i, w := range f.trees {
		f.compareWorker(fmt.Sprintf("worker %d %v ", i, w.pids()), fleet.Workers[w.target.Key], w, want[i], dear)
	}
	if dear {
		f.compareTotals(fleet, want)
	}
}

// compareWorker checks one.
func (f *fleetUnderTest) compareWorker(who string, got *Worker, w *tree, want truth, dear bool) {
	f.t.Helper()
	b := f.books
	if got == nil || got.Sample.Error != "" || !got.Sample.Exact || !sameElements(got.PIDs, w.pids()) {
		b.errorf("%sis %+v", who, got)
		return
	}
	cut := int64(want.processes) * kib
	if want.processes == 1 {
		cut = 0
	}
	b.agree(who+"rss", got.RSS, float64(want.rss), 0, 0)
	b.agree(who+"swap", got.Swap, float64(want.swap), 0, 0)
	b.agree(who+"page tables", got.PageTables, float64(want.pageTables), 0, 0)
	var mapped int64
	for i, d := range got.Data {
		name, truth := fmt.Sprintf("%s%s.v%d ", who, d.Name, d.Version), want.data[i]
		b.agree(name+"rss", d.RSS, float64(truth.rss), 0, 0)
		b.agree(name+"pss", d.PSS, truth.pss, 0, 0)
		b.agree(name+"cow", d.COW, float64(truth.cow), 0, 0)
		b.agree(name+"huge", d.Huge, float64(truth.huge), 0, 0)
		if truth.huge > truth.thp {
			b.errorf("%s%d bytes are mapped huge, but only %d are of huge pages", name, truth.huge, truth.thp)
		}
		mapped += truth.rss - truth.anon
	}
	b.agree(who+"mapped", got.Mapped, float64(mapped), 0, 0)
	if dear || want.processes == 1 {
		private := want.pssAnon
		if want.processes == 1 {
			private = float64(want.anon)
		}
		b.agree(who+"private", got.Private, private, cut, 0)
		b.agree(who+"shared", got.Shared, float64(want.rss)-private, 0, cut)
	}
	// Without another smaps_rollup PSS and USS follow the anonymous memory of a worker of one process.
	last, settled := f.settled[w.target.Key]
	followed := want.processes == 1 && settled && last.processes == 1 && last.shared == want.shared
	if dear || followed {
		b.agree(who+"pss", got.PSS, want.pss, int64(want.processes)*(kib+vdso), int64(want.processes)*vdso)
		b.agree(who+"uss", got.USS, float64(want.uss), 0, 0)
	}
	if dear {
		b.agree(who+"other shared", got.OtherShared, want.shared.pss, 2*int64(want.processes)*kib, 0)
	}
}

// compareTotals checks the fleet's account against one made from the books alone.
func (f *fleetUnderTest) compareTotals(fleet *Fleet, want []truth) {
	f.t.Helper()
	b := f.books
	const supervisor = 12 << 20
	in := Account{Ready: len(f.trees), Supervisor: new(int64(supervisor))}
	for _, w := range f.trees {
		in.Workers = append(in.Workers, fleet.Workers[w.target.Key])
	}
	in.Newest = int64((f.sources[1].pages + f.sources[2].pages) * os.Getpagesize()) // the first was replaced by the second
	var data int64
	for _, s := range f.segments {
		in.Data += fleet.Allocated[s.SegKey]
		data += s.Size
	}
	in.Full = 3 * in.Data
	m := Totals(in)

	var sum truth
	var mapped, cow, all int64
	var private, others float64
	for _, w := range want {
		sum.rss += w.rss
		sum.uss += w.uss
		sum.pss += w.pss
		others += w.shared.pss
		sum.pageTables += w.pageTables
		all += int64(w.processes) * (kib + vdso)
		if w.processes > 1 {
			private += w.pssAnon
		} else {
			private += float64(w.anon)
		}
		for _, d := range w.data {
			mapped += d.rss - d.anon
			cow += d.cow
		}
	}
	b.agree("Σ rss", m.RSS, float64(sum.rss), 0, 0)
	b.agree("Σ pss", m.PSS, sum.pss, all, 2)
	b.agree("Σ uss", m.USS, float64(sum.uss), 0, 0)
	b.agree("Σ private", m.Private, private, all, 0)
	b.agree("Σ page tables", m.PageTables, float64(sum.pageTables), 0, 0)
	b.agree("data", &m.Data, float64(data), 0, 0)
	b.agree("Σ mapped", m.Mapped, float64(mapped), 0, 0)
	b.agree("Σ cow", m.COW, float64(cow), 0, 0)
	used := float64(data) + private + others + float64(sum.pageTables) + supervisor
	b.agree("used", m.Used, used, 3*all, 0)
	b.agree("saved", m.Saved, float64(mapped-data), 0, 0)
	b.agree("saved_full", m.SavedFull, float64(3*data-data-cow), 0, 0)
	b.agree("without sharing", m.WithoutSharing, used+float64(mapped-data), 3*all, 0)
	b.ratio("copies", m.Copies, float64(data+cow)/float64(in.Newest), 1e-12)
	saved, without := float64(mapped-data), used+float64(mapped-data)
	if saved < 0 {
		b.figures++
		if m.SavedRatio != nil {
			b.errorf("saved ratio = %v of a saving of %v", *m.SavedRatio, saved)
		}
		return
	}
	b.ratio("saved ratio", m.SavedRatio, saved/without, math.Abs(saved/without-saved/(without-float64(3*all)))+1e-12)
}

// ratio compares a ratio.
func (b *pageBooks) ratio(what string, got *float64, want, slack float64) {
	b.t.Helper()
	b.figures++
	if got == nil || math.Abs(*got-want) > slack {
		b.errorf("%s = %v, want %v within %g", what, show(got), want, slack)
	}
}

func sameElements(a, b []int) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
