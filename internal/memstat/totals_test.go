// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const gib = 1 << 30

// One of eight workers that maps all of 1 GiB and holds 10 MiB of its own.
func oneOfEight() *Worker {
	return &Worker{
		RSS: new(int64(gib + 16<<20)), PSS: new(int64(gib/8 + 11<<20)), USS: new(int64(10 << 20)),
		Private: new(int64(10 << 20)), PageTables: new(int64(2 << 20)), OtherShared: new(int64(1 << 20)),
		Mapped: new(int64(gib)),
		Data: []WorkerData{{
			Name: "emb", Version: 1, RSS: new(int64(gib)), PSS: new(int64(gib / 8)), COW: new(int64(0)),
		}},
	}
}

func eight() Account {
	in := Account{Data: gib, Newest: gib, Ready: 8, Full: 8 * gib, Supervisor: new(int64(12 << 20))}
	for range 8 {
		in.Workers = append(in.Workers, oneOfEight())
	}
	return in
}

func TestTheAccountFollowsItsFormulas(t *testing.T) {
	in := eight()
	in.Workers[0].Data[0].COW = new(int64(1 << 20)) // 1 MiB copied: private grows, and the mapping has that much less
	*in.Workers[0].Mapped -= 1 << 20
	*in.Workers[0].Private += 1 << 20
	got := Totals(in)
	used := int64(gib + 8*(10+1+2)<<20 + 1<<20 + 12<<20)
	saved := int64(7*gib - 1<<20)
	want := Memory{
		RSS: new(int64(8 * (gib + 16<<20))), PSS: new(int64(gib + 8*11<<20)), USS: new(int64(80 << 20)),
		Private: new(int64(81 << 20)), PageTables: new(int64(16 << 20)), Data: gib,
		Mapped: new(int64(8*gib - 1<<20)), COW: new(int64(1 << 20)), Supervisor: new(int64(12 << 20)),
		Used: &used, Saved: &saved, WithoutSharing: new(used + saved), SavedFull: new(int64(7*gib - 1<<20)),
		SavedRatio: new(float64(saved) / float64(used+saved)), Copies: new(float64(gib+1<<20) / gib),
		Counterfactual: got.Counterfactual,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, words := range []string{"1.0 GiB", "8 workers", "8.0 GiB", "8 ready", "1.0 MiB"} {
		if !strings.Contains(got.Counterfactual, words) {
			t.Errorf("the counterfactual does not say %q: %s", words, got.Counterfactual)
		}
	}
}

func TestAnUnknownPartMakesItsSumsUnknown(t *testing.T) {
	for name, spoil := range map[string]func(in *Account){
		"a worker not measured": func(in *Account) { in.Workers[3] = nil },
		"a worker without its data": func(in *Account) {
			in.Workers[3].Mapped, in.Workers[3].OtherShared, in.Workers[3].Data[0].COW = nil, nil, nil
		},
	} {
		in := eight()
		spoil(&in)
		got := Totals(in)
		if got.Mapped != nil || got.Saved != nil || got.SavedFull != nil || got.SavedRatio != nil ||
			got.Copies != nil || got.Used != nil || got.WithoutSharing != nil || got.COW != nil {
			t.Errorf("%s: %+v", name, got)
		}
		if got.Data != gib || *got.Supervisor != 12<<20 {
			t.Errorf("%s: what is known is gone: %+v", name, got)
		}
	}
	in := eight()
	in.Supervisor = nil
	if got := Totals(in); got.Used != nil || got.Saved == nil || *got.PSS != gib+8*11<<20 {
		t.Errorf("without the supervisor's part: %+v", got)
	}
}

func TestTheSavingMayBeNegative(t *testing.T) {
	in := Account{Data: gib, Newest: gib, Ready: 0, Supervisor: new(int64(1))}
	got := Totals(in)
	if *got.Saved != -gib || *got.SavedFull != -gib || *got.RSS != 0 || *got.Copies != 1 {
		t.Errorf("with nobody there: %+v", got)
	}
}

func TestWithoutDatasetsThereIsNoRatio(t *testing.T) {
	in := Account{Workers: []*Worker{oneOfEight()}, Ready: 1, Supervisor: new(int64(1))}
	in.Workers[0].Data, *in.Workers[0].Mapped = nil, 0
	got := Totals(in)
	if got.SavedRatio != nil || got.Copies != nil || *got.Saved != 0 || *got.Used == 0 {
		t.Errorf("without datasets: %+v", got)
	}
}

// row makes the row of a worker that maps some MiB of datasets and copied some of it. A negative number stands for a
// version in no segment.
func row(mapped, cow int64, data ...int64) *Worker {
	w := oneOfEight()
	*w.Mapped, w.Data = mapped<<20, nil
	for i, rss := range data {
		d := WorkerData{Name: "d", Version: i + 1}
		if rss >= 0 {
			d.RSS, d.PSS, d.COW = new(rss<<20), new(rss<<20), new(int64(0))
			if i == 0 {
				*d.COW = cow << 20
			}
		}
		w.Data = append(w.Data, d)
	}
	return w
}

// MiB in, MiB out. used is what is held beside the data: 10 + 1 + 2 in each worker and 12 in preforkd.
func TestTheSavingInEveryKindOfFleet(t *testing.T) {
	for _, tc := range []struct {
		name                   string
		workers                []*Worker
		data, newest, full     int64
		ready                  int
		saved, savedFull, used int64
		copies                 float64
		says                   string
	}{
		{
			name:    "several datasets, one of them mapped by one worker only",
			workers: []*Worker{row(1000, 0, 600, 400), row(600, 0, 600, 0)},
			data:    1000, newest: 1000, full: 2000, ready: 2,
			saved: 600, savedFull: 1000, used: 1000 + 2*13 + 12, copies: 1,
			says: "1.6 GiB in 2 workers, instead of 1000 MiB held once",
		},
		{
			name:    "a reload: two versions, one old and one new worker, and one that starts",
			workers: []*Worker{row(100, 0, 100), row(110, 0, 110), row(0, 0, 0)},
			data:    210, newest: 110, full: 210, ready: 2,
			saved: 0, savedFull: 0, used: 210 + 3*13 + 12, copies: 210. / 110,
			says: "had every ready worker loaded all the data held for it, that would be 210 MiB in 2 ready workers",
		},
		{
			name:    "in place: each worker has two versions",
			workers: []*Worker{row(210, 4, 100, 114), row(210, 0, 100, 110)},
			data:    210, newest: 110, full: 420, ready: 2,
			saved: 210, savedFull: 420 - 210 - 4, used: 210 + 2*13 + 12, copies: 214. / 110,
			says: "the 210 MiB held and the 4.0 MiB copied by writing are taken off",
		},
		{
			name:    "one direct dataset beside one that is held",
			workers: []*Worker{row(100, 0, 100, -1), row(50, 0, 50, -1)},
			data:    100, newest: 100, full: 200, ready: 2,
			saved: 50, savedFull: 100, used: 100 + 2*13 + 12, copies: 1,
			says: "150 MiB in 2 workers",
		},
		{
			name:    "a worker that maps nothing",
			workers: []*Worker{row(0, 0, 0)},
			data:    100, newest: 100, full: 100, ready: 1,
			saved: -100, savedFull: 0, used: 100 + 13 + 12, copies: 1,
			says: "0 B in 1 worker, instead of 100 MiB held once",
		},
		{
			name:    "a worker of five processes that all map it",
			workers: []*Worker{row(500, 0, 500)},
			data:    100, newest: 100, full: 100, ready: 1,
			saved: 400, savedFull: 0, used: 100 + 13 + 12, copies: 1,
			says: "each mapping of a page that the workers have now would be a copy of it: 500 MiB in 1 worker",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			const mib = 1 << 20
			m := Totals(Account{
				Workers: tc.workers, Data: tc.data * mib, Newest: tc.newest * mib, Ready: tc.ready, Full: tc.full * mib,
				Supervisor: new(int64(12 * mib)),
			})
			checkNear(t, "saved", m.Saved, tc.saved*mib, 0)
			checkNear(t, "saved_full", m.SavedFull, tc.savedFull*mib, 0)
			checkNear(t, "used", m.Used, tc.used*mib, 0)
			checkNear(t, "without_sharing", m.WithoutSharing, (tc.used+tc.saved)*mib, 0)
			if m.Copies == nil || *m.Copies != tc.copies {
				t.Errorf("copies = %v, want %v", *m.Copies, tc.copies)
			}
			if !strings.Contains(m.Counterfactual, tc.says) {
				t.Errorf("the counterfactual does not say %q: %s", tc.says, m.Counterfactual)
			}
		})
	}
}

func TestTheCounterfactualSaysWhenThereIsNone(t *testing.T) {
	for says, in := range map[string]Account{
		"holds no data in memory": {Workers: []*Worker{row(0, 0, -1)}, Ready: 1}, // all of it is direct:
		"is being loaded":         {Data: gib},
		"not counted yet":         {Workers: []*Worker{nil}, Data: gib, Newest: gib},
	} {
		if got := Totals(in).Counterfactual; !strings.Contains(got, says) {
			t.Errorf("it does not say %q: %s", says, got)
		}
	}
}
