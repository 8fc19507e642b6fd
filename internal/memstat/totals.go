// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// The fleet's account: pure arithmetic over the workers' rows.

import (
	"fmt"

	"github.com/dustin/go-humanize"
)

// Account is what Totals adds up.
type Account struct {
	Workers    []*Worker // one for each live worker; nil where nothing was measured yet
	Data       int64     // allocated bytes of all live segments
	Newest     int64     // content bytes of the newest version of each dataset; 0 without datasets
	Ready      int       // ready workers
	Full       int64     // allocated bytes of the versions that each of them has, added up
	Supervisor *int64    // preforkd's own PSS
}

// Memory is the fleet's account; the names and formulas are those of the /stats schema. A figure that depends on an
// unknown one is nil.
type Memory struct {
	RSS            *int64
	PSS            *int64
	USS            *int64
	Private        *int64
	PageTables     *int64
	Data           int64
	Mapped         *int64
	COW            *int64
	Supervisor     *int64
	Used           *int64
	WithoutSharing *int64
	Saved          *int64
	SavedFull      *int64
	SavedRatio     *float64
	Copies         *float64
	Counterfactual string
}

// Totals works the account out.
func Totals(in Account) Memory {
	m := Memory{
		Data: in.Data, Supervisor: in.Supervisor,
		RSS: new(int64), PSS: new(int64), USS: new(int64), Private: new(int64), PageTables: new(int64),
		Mapped: new(int64), COW: new(int64),
	}
	others := new(int64)
	for _, w := range in.Workers {
		if w == nil {
			w = &Worker{Data: []WorkerData{{}}}
		}
		m.RSS = plus(m.RSS, w.RSS)
		m.PSS = plus(m.PSS, w.PSS)
		m.USS = plus(m.USS, w.USS)
		m.Private = plus(m.Private, w.Private)
		m.PageTables = plus(m.PageTables, w.PageTables)
		m.Mapped = plus(m.Mapped, w.Mapped)
		others = plus(others, w.OtherShared)
		for _, d := range w.Data {
			m.COW = plus(m.COW, d.COW)
		}
	}
	m.Used = plus(plus(plus(plus(&in.Data, m.Private), others), m.PageTables), in.Supervisor)
	if m.Mapped != nil {
		m.Saved = new(*m.Mapped - in.Data)
	}
	if m.COW != nil {
		m.SavedFull = new(in.Full - in.Data - *m.COW)
	}
	m.WithoutSharing = plus(m.Used, m.Saved)
	if in.Newest > 0 {
		if m.WithoutSharing != nil && *m.WithoutSharing > 0 {
			m.SavedRatio = new(float64(*m.Saved) / float64(*m.WithoutSharing))
		}
		if m.COW != nil {
			m.Copies = new(float64(in.Data+*m.COW) / float64(in.Newest))
		}
	}
	m.Counterfactual = counterfactual(in, m)
	return m
}

// counterfactual says what Saved and SavedFull compare with.
func counterfactual(in Account, m Memory) string {
	if in.Newest == 0 {
		return "nothing is compared: there is no dataset."
	}
	if m.Mapped == nil || m.COW == nil {
		return "not known until the pages of every worker have been counted."
	}
	return fmt.Sprintf("saved compares with %s that each hold a copy of just the pages they map now (%s in all, "+
		"instead of %s once), saved_full with %d ready that each loaded all of it, less the %s copied by writing.",
		plural(len(in.Workers), "worker"), size(*m.Mapped), size(in.Data), in.Ready, size(*m.COW))
}

func size(bytes int64) string { return humanize.IBytes(uint64(max(0, bytes))) }

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
