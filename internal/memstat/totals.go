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
	Data       int64     // allocated bytes of all live segments, and of those that are being filled
	Newest     int64     // content bytes of the newest version of each dataset in a segment; 0 without any
	Ready      int       // ready workers
	Full       int64     // allocated bytes of the versions that each of them has, added up
	Supervisor *int64    // Self.Held of preforkd
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
			w = &Worker{}
		}
		m.RSS = plus(m.RSS, w.RSS)
		m.PSS = plus(m.PSS, w.PSS)
		m.USS = plus(m.USS, w.USS)
		m.Private = plus(m.Private, w.Private)
		m.PageTables = plus(m.PageTables, w.PageTables)
		m.Mapped = plus(m.Mapped, w.Mapped)
		others = plus(others, w.OtherShared)
		m.COW = plus(m.COW, w.copied())
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
		if m.Saved != nil && *m.Saved >= 0 && m.WithoutSharing != nil && *m.WithoutSharing > 0 { // a share is never negative
			m.SavedRatio = new(float64(*m.Saved) / float64(*m.WithoutSharing))
		}
		if m.COW != nil {
			m.Copies = new(float64(in.Data+*m.COW) / float64(in.Newest))
		}
	}
	m.Counterfactual = counterfactual(in, m)
	return m
}

// copied adds up what a worker copied by writing. Where its pages are known, a row without figures is of a version that
// is in no segment (direct:).
func (w *Worker) copied() *int64 {
	if w.Mapped == nil {
		return nil
	}
	sum := new(int64)
	for _, d := range w.Data {
		if d.COW != nil {
			*sum += *d.COW
		}
	}
	return sum
}

// counterfactual says what Saved and SavedFull compare with. A worker may be several processes, and a process may map a
// page twice: so it is the mappings that are counted, and said.
func counterfactual(in Account, m Memory) string {
	switch {
	case in.Newest == 0 && in.Data == 0: // what is direct: is in nobody's memory but the page cache's
		return "nothing is compared: preforkd holds no data in memory."
	case in.Newest == 0:
		return "nothing is compared yet: the data is being loaded."
	case m.Mapped == nil || m.COW == nil:
		return "not known: the pages of some worker are not counted yet, or could not be (sample.error of its row says why)."
	}
	return fmt.Sprintf("saved: were nothing shared, each mapping of a page that the workers have now would be a copy of it: "+
		"%s in %s, instead of %s held once. saved_full: had every ready worker loaded all the data held for it, that would "+
		"be %s in %s; the %s held and the %s copied by writing are taken off.",
		size(*m.Mapped), plural(len(in.Workers), "worker"), size(in.Data),
		size(in.Full), plural(in.Ready, "ready worker"), size(in.Data), size(*m.COW))
}

func size(bytes int64) string { return humanize.IBytes(uint64(max(0, bytes))) }

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
