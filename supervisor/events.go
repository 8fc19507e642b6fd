// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package supervisor

// What happened, for those who look: the dashboard and preforkd top. The log has the same and more.

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/preforkd/preforkd/internal/fleet"
	"github.com/preforkd/preforkd/internal/process"
)

// maxEvents is how many of the last events are kept.
const maxEvents = 256

// EventKind is what an Event tells of.
type EventKind string

// The kinds of events.
const (
	EventLoaded   EventKind = "loaded"   // a version of a dataset can be used
	EventFreed    EventKind = "freed"    // the memory of a version goes back to the kernel
	EventStarted  EventKind = "started"  // a worker process runs
	EventReady    EventKind = "ready"    // a worker serves
	EventTook     EventKind = "took"     // a worker has taken new data in place
	EventEnded    EventKind = "ended"    // a worker process ended, or could not be started
	EventBegun    EventKind = "begun"    // a reload, restart or scaling began
	EventDone     EventKind = "done"     // it is carried out
	EventFailed   EventKind = "failed"   // it is not; what served before serves on
	EventStopping EventKind = "stopping" // the fleet was asked to stop
)

// Event is one thing that happened to a fleet. Seq counts from 1 without a gap; Text is a sentence for people, without what
// the other fields tell of the worker.
type Event struct {
	Seq         uint64    `json:"seq"`
	At          time.Time `json:"at"`
	Kind        EventKind `json:"kind"`
	Worker      *int      `json:"worker,omitempty"`
	Incarnation int       `json:"incarnation,omitempty"`
	PID         int       `json:"pid,omitempty"`
	Text        string    `json:"text"`
	Bad         bool      `json:"bad,omitempty"` // nobody asked for it: a crash, a failed reload
}

// journal keeps the last events. The loop writes it; anybody may read.
type journal struct {
	mu   sync.Mutex
	last uint64
	list []Event // oldest first
}

func (j *journal) add(e Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last++
	e.Seq = j.last
	if len(j.list) == maxEvents {
		j.list = slices.Delete(j.list, 0, 1)
	}
	j.list = append(j.list, e)
}

// Events returns what happened after the event with this number, oldest first: of the last 256 at most. 0: all of them.
// Updated tells when to ask again.
func (s *Supervisor) Events(after uint64) []Event {
	s.journal.mu.Lock()
	defer s.journal.mu.Unlock()
	i := slices.IndexFunc(s.journal.list, func(e Event) bool { return e.Seq > after })
	if i < 0 {
		return nil
	}
	return slices.Clone(s.journal.list[i:])
}

// note puts down what happened to the fleet.
func (l *loop) note(kind EventKind, text string) {
	l.journal.add(Event{At: time.Now(), Kind: kind, Text: text, Bad: kind == EventFailed})
}

// noteChange puts down what a step decided about the fleet as a whole.
func (l *loop) noteChange(before fleet.State) {
	if workers := l.state.Config.Workers; workers != before.Config.Workers {
		l.note(EventDone, fmt.Sprintf("scaled from %d to %d workers", before.Config.Workers, workers))
	}
	if l.state.Phase == fleet.Stopping && before.Phase != fleet.Stopping {
		l.note(EventStopping, "stopping")
	}
}

// noteWorker puts down what happened to a worker.
func (l *loop) noteWorker(w *worker, kind EventKind, text string, bad bool) {
	e := Event{At: time.Now(), Kind: kind, Worker: new(w.id.Slot), Incarnation: w.id.Incarnation, Text: text, Bad: bad}
	if w.process != nil {
		e.PID = w.process.PID
	}
	l.journal.add(e)
}

// endText is how a worker ended and why: "ended by exit code 0, reason reload, after 3.2s".
func endText(w *worker, event process.Exited, reason fleet.Reason) string {
	return fmt.Sprintf("ended by %s, reason %s, after %s", event, reason, roundedTime(time.Since(w.spawned)))
}
