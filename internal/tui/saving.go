// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package tui

// What sharing saves, said so that it is true in every state of a fleet, and how well that is known.

import (
	"fmt"
	"slices"

	"github.com/preforkd/preforkd/supervisor"
)

// Saving says what sharing saves, in a headline and in a sentence about what that is a part of.
func Saving(s *supervisor.Snapshot) (headline, detail string) {
	m := &s.Memory
	loading := slices.ContainsFunc(s.Data, func(d supervisor.Data) bool { return d.LoadedAt == nil })
	loaded := slices.ContainsFunc(s.Data, func(d supervisor.Data) bool { return d.LoadedAt != nil })
	shared := slices.ContainsFunc(s.Data, func(d supervisor.Data) bool { return d.LoadedAt != nil && !d.Direct })
	switch {
	case len(s.Data) == 0:
		return "Nothing is shared: there is no dataset", held(s)
	case loading && !loaded:
		return "Nothing is shared yet: the data is being loaded", Bytes(&m.Data) + " held so far."
	case !shared:
		return "Nothing is shared through preforkd: workers open their data themselves", held(s)
	case m.Saved == nil:
		return "What sharing saves is not known", "Because of " + unknown(s) + ". " + held(s)
	case *m.Saved == 0:
		return "Sharing saves nothing now (0 B)",
			fmt.Sprintf("What the workers have mapped is as much as the %s of data held. %s", Bytes(&m.Data), held(s))
	case *m.Saved < 0:
		less := Bytes(new(-*m.Saved))
		return fmt.Sprintf("Sharing saves nothing now (%s)", Bytes(m.Saved)),
			fmt.Sprintf("The workers have mapped %s less than the %s of data held. %s", less, Bytes(&m.Data), held(s))
	}
	headline = "Sharing saves " + Bytes(m.Saved)
	if m.SavedRatio != nil {
		headline += fmt.Sprintf(" (%.1f %%)", 100**m.SavedRatio)
	}
	if m.Used == nil || m.WithoutSharing == nil {
		return headline, held(s)
	}
	return headline, fmt.Sprintf("%s and %s of data held once take %s instead of %s.",
		Plural(live(s), "worker"), Bytes(&m.Data), Bytes(m.Used), Bytes(m.WithoutSharing))
}

// held says what a fleet takes in all.
func held(s *supervisor.Snapshot) string {
	if s.Memory.Used == nil {
		return "What is used in all is not known."
	}
	return fmt.Sprintf("%s and preforkd take %s.", Plural(live(s), "worker"), Bytes(s.Memory.Used))
}

func live(s *supervisor.Snapshot) (n int) {
	for i := range s.Workers {
		if s.Workers[i].PID != nil {
			n++
		}
	}
	return n
}

// unknown is the first reason why a sum over the workers is not known.
func unknown(s *supervisor.Snapshot) string {
	for i := range s.Workers {
		if w := &s.Workers[i]; w.PID != nil && w.Sample.Error != "" {
			return who(s, w) + ": " + Line(w.Sample.Error)
		}
	}
	return "a worker that has not been measured yet"
}

// measured is how well the live workers of a snapshot are known.
type measured struct {
	live, sampled, exact int
	youngest, oldest     float64 // seconds; of those sampled
}

func measure(s *supervisor.Snapshot) (m measured) {
	for i := range s.Workers {
		w := &s.Workers[i]
		if w.PID == nil {
			continue
		}
		m.live++
		old := SampleAge(s, w)
		if old == nil {
			continue
		}
		if m.sampled == 0 {
			m.youngest = *old
		}
		m.sampled++
		m.youngest, m.oldest = min(m.youngest, *old), max(m.oldest, *old)
		if w.Sample.Exact {
			m.exact++
		}
	}
	return m
}

// ages is "10s", or "1s to 10s".
func (m measured) ages() string {
	if m.oldest-m.youngest < 1 {
		return Duration(m.youngest)
	}
	return Duration(m.youngest) + " to " + Duration(m.oldest)
}

// SampleAge is how many seconds old a worker's figures are; nil when there are none.
func SampleAge(s *supervisor.Snapshot, w *supervisor.Worker) *float64 {
	if w.Sample.At == nil {
		return nil
	}
	return new(max(0, Now(s).Sub(*w.Sample.At).Seconds()))
}
