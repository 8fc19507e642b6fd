// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package supervisor

// What the loop publishes after each step: an immutable view that everybody else reads.

import (
	"maps"
	"slices"
	"time"

	"github.com/preforkd/preforkd/internal/fleet"
	"github.com/preforkd/preforkd/internal/listen"
	"github.com/preforkd/preforkd/internal/memstat"
)

// view is the fleet at one moment. Nothing in it changes any more, except what is safe to read at any time: the progress of
// loads, a segment's allocation, a socket's queue.
type view struct {
	state    fleet.State
	command  []string // as it is shown
	loading  []*loadState
	order    *orderView
	reload   *Reload
	reloads  map[string]uint64
	versions []*version
	sockets  []*listen.Socket
	live     map[fleet.ID]workerView
	ended    []endedView // by slot: its last process that ended
	// lingering: processes are left, if only what workers left in their groups, though the fleet may have stopped.
	lingering bool
}

// orderView is an order under way.
type orderView struct {
	kind   fleet.Reason
	begun  time.Time
	queued int
}

func (l *loop) orderView() *orderView {
	switch {
	case l.order != nil:
		return &orderView{kind: l.order.kind, begun: l.order.begun, queued: len(l.orders)}
	case len(l.scalings) > 0:
		return &orderView{kind: fleet.ReasonScale, begun: l.scalings[0].begun, queued: len(l.orders)}
	}
	return nil
}

type endedView struct {
	spawned *time.Time
	exit    *Exit
}

type workerView struct {
	pid      int
	spawned  time.Time
	status   string
	requests *int64
	versions []*version // what it was handed, and what it still holds of older ones
	inPlace  []string
}

// publish makes the present state visible and tells the sampler whom to measure.
func (l *loop) publish() {
	v := &view{
		state: l.state, command: l.present().shownCommand(), order: l.orderView(), reload: l.lastReload, reloads: maps.Clone(l.reloads), versions: append([]*version(nil), l.versions...),
		live: make(map[fleet.ID]workerView, len(l.workers)), ended: make([]endedView, max(len(l.ended), len(l.state.Slots))),
		lingering: len(l.processes) > 0,
	}
	if l.load != nil {
		v.loading = l.load.progress
	}
	if l.sockets != nil {
		v.sockets = l.sockets.Sockets
	}
	for id, w := range l.workers {
		wv := workerView{spawned: w.spawned, status: w.status, requests: w.requests, versions: slices.Concat(w.versions, w.held), inPlace: w.takes()}
		if w.process != nil {
			wv.pid = w.process.PID
		}
		v.live[id] = wv
	}
	for i, w := range l.ended {
		if w != nil {
			v.ended[i] = endedView{&w.spawned, w.exit} // nothing of a worker changes after its end
		}
	}
	l.view.Store(v)
	if changed := l.changed.Swap(new(make(chan struct{}))); changed != nil {
		close(*changed)
	}
	if l.roster {
		l.roster = false
		l.sampler.Update(v.targets(), l.segments())
	}
}

// targets are the workers whose memory can be read: those that have become their command.
func (v *view) targets() []memstat.Target {
	var targets []memstat.Target
	for _, slot := range v.state.Slots {
		for _, w := range slot.Workers {
			if w.PID == 0 {
				continue
			}
			t := memstat.Target{
				Key: memstat.Key{Worker: w.ID.Slot, Incarnation: w.ID.Incarnation},
				PID: w.PID, Ready: w.Phase == fleet.WorkerReady,
			}
			for _, version := range v.live[w.ID].versions {
				t.Versions = append(t.Versions, version.key())
			}
			targets = append(targets, t)
		}
	}
	return targets
}

func (v *version) key() memstat.SegKey { return memstat.SegKey{Name: v.Name, Version: v.number} }

// shownCommand is the command line that everybody may see who may see the stats.
func (p *parsed) shownCommand() []string {
	if p.HideArgs {
		return p.Command[:1:1]
	}
	return p.Command
}
