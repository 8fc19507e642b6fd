// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package supervisor

// What the loop does with the listening sockets.

import (
	"slices"

	"github.com/preforkd/preforkd/internal/fleet"
	"github.com/preforkd/preforkd/internal/listen"
)

func (l *loop) openSockets() error {
	var inherited []listen.Inherited
	for _, in := range l.config.Inherited {
		inherited = append(inherited, listen.Inherited(in))
	}
	sockets, err := listen.Open(l.config.listen, inherited, listen.Options{
		Accept: l.config.accept, Slots: l.config.Workers, UnixMode: l.config.SocketMode,
	})
	if err != nil {
		return fail(KindListen, err)
	}
	l.sockets, l.withSockets = sockets, l.config.Workers
	for _, note := range sockets.Notes() {
		l.config.Log.Warn("not as asked", "note", note)
	}
	if on, err := listen.MigrateRequests(); l.config.accept == listen.Reuseport && err == nil && !on {
		l.config.Log.Warn("net.ipv4.tcp_migrate_req is 0: connections that wait in the queue of a slot are reset when the fleet is made " +
			"smaller or stops; sysctl net.ipv4.tcp_migrate_req=1 hands them to the other slots")
	}
	return nil
}

// makeBlocking gives a worker its sockets blocking, as systemd hands them over. But the mode belongs to the open socket that
// all who have it share: switching it back under a running event loop would hang that loop in accept as soon as a
// sibling is faster. So only when nobody is alive who may have it.
func (l *loop) makeBlocking(slot int) {
	own := true
	for _, of := range l.processes {
		own = own && of != slot
	}
	l.sockets.Blocking(slot, len(l.processes) == 0, own)
}

// slots is how many slots there are, or still have a worker.
func (l *loop) slots() int {
	n := l.state.Config.Workers
	for i := range l.state.Slots {
		if len(l.state.Slots[i].Workers) > 0 {
			n = max(n, i+1)
		}
	}
	return n
}

// makeSockets gives new slots their sockets, before workers are started there.
func (l *loop) makeSockets() {
	if l.sockets == nil || l.slots() <= l.withSockets {
		return
	}
	if err := l.sockets.Resize(l.slots()); err != nil {
		l.config.Log.Error("new slots have no sockets", "error", err)
		return
	}
	l.withSockets = l.slots()
}

// steer keeps new connections away from slots without a ready worker, and closes the sockets of slots that are gone.
func (l *loop) steer() {
	if l.sockets == nil { // they could not be opened
		return
	}
	if slots := l.slots(); slots < l.withSockets && l.sockets.Resize(slots) == nil {
		l.withSockets = slots
	}
	serving := make([]bool, min(l.withSockets, len(l.state.Slots)))
	for i := range serving {
		serving[i] = slices.ContainsFunc(l.state.Slots[i].Workers, func(w fleet.Worker) bool { return w.Phase == fleet.WorkerReady })
	}
	if err := l.sockets.Steer(serving); err != nil {
		l.config.Log.Warn("new connections may wait at slots without a ready worker", "error", err)
	}
}

func (l *loop) closeSockets() {
	l.sockets.Close()
	l.sockets = &listen.Set{}
	l.publish()
}
