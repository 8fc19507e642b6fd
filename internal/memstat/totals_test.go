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
