// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package top

import (
	"math"
	"testing"

	"github.com/preforkd/preforkd/internal/api/apitest"
)

func TestRates(t *testing.T) {
	for name, c := range map[string]struct {
		looks []change
		want  float64 // NaN: not known
	}{
		"one look":                {[]change{{0, 5}}, math.NaN()},
		"two looks":               {[]change{{0, 5}, {1, 5.5}}, 0.5},
		"no change yet":           {[]change{{0, 5}, {1, 5}}, math.NaN()},
		"it stands still":         {[]change{{0, 5}, {1, 5}, {2, 5}, {3, 5}}, 0},
		"two readings in a look":  {[]change{{0, 5}, {1, 6}, {2, 6}, {3, 8}}, 1},
		"looks between readings":  {[]change{{0, 5}, {0.2, 5}, {1, 6}, {1.2, 6}, {1.4, 6}}, 1},
		"it came to a standstill": {[]change{{0, 0}, {1, 1}, {2, 2}, {3, 2}, {5, 2}}, 0.4},
		"long ago":                {[]change{{0, 0}, {1, 1}, {2, 2}, {5, 2}, {8, 2}}, 0},
		"only the last seconds":   {[]change{{0, 0}, {1, 100}, {2, 100.5}, {3, 101}, {4, 101.5}, {5, 102}, {6, 102.5}, {7, 103}}, 0.5},
		"it counts anew":          {[]change{{0, 100}, {1, 110}, {2, 3}}, math.NaN()},
		"and goes on":             {[]change{{0, 100}, {1, 110}, {2, 3}, {3, 5}}, 2},
		"a look each minute":      {[]change{{0, 0}, {60, 30}, {120, 90}}, 1},
	} {
		m := &meter{}
		for _, l := range c.looks {
			m.add(l.at, l.value)
		}
		got := m.rate()
		switch {
		case math.IsNaN(c.want) && got != nil:
			t.Errorf("%s: %v, want it not to be known", name, *got)
		case !math.IsNaN(c.want) && got == nil:
			t.Errorf("%s: not known, want %v", name, c.want)
		case got != nil && (math.Abs(*got-c.want) > 1e-9):
			t.Errorf("%s: %v, want %v", name, *got, c.want)
		}
	}
}

func TestRatesOfWorkersAndLoadsAreShown(t *testing.T) {
	g := open(t, crowd(4), 160, 30, false)
	g.instance.view = later(g.instance.view, 2)
	g.tick()
	for _, want := range []string{"3.0     3.0", "1.0     1.0"} { // CPU % and REQ/S of the workers 3 and 1
		g.has(want)
	}
	if len(g.rates) != 4+2 {
		t.Errorf("%d meters", len(g.rates))
	}

	s := apitest.Loading()
	g = open(t, s, 120, 24, false)
	g.has("25 % 256 MiB of 1.0 GiB")
	next := *s
	next.Supervisor.Uptime += 2
	next.Data = append(next.Data[:0:0], next.Data...)
	next.Data[0].Loaded *= 2
	g.instance.view = &next
	g.tick()
	g.has("50 % 512 MiB of 1.0 GiB, 128 MiB/s, 4s left")
	g.has("████████████░░░░░░░░░░░░")
}
