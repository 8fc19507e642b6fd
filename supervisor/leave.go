// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package supervisor

// How a worker that serves is asked to stop while others serve on: first it is kept from taking new connections, then it
// gets the stop signal. Servers with an event loop close what they have accepted and not read yet when they are told to
// stop (uvicorn 0.54: 21 to 47 resets in 15 to 50 stops under load with new connections; none this way).

import (
	"slices"
	"time"

	"github.com/preforkd/preforkd/internal/fleet"
	"github.com/preforkd/preforkd/internal/host"
	"github.com/preforkd/preforkd/internal/process"
	"github.com/preforkd/preforkd/internal/ready"
)

// settle is how long a worker has, once it takes no new connection, to accept and read what has come. Then it is looked, each
// lookEvery, whether it has read what was waiting: a loop that is busy with a request, or a machine that is, comes to it
// later. That may take a quarter of the time that the worker has to stop.
const (
	settle    = 100 * time.Millisecond
	lookEvery = 50 * time.Millisecond
)

// quietTimeout is how long quieting a worker may take; it needs milliseconds.
const quietTimeout = time.Second

// leaving is a worker on its way out that has not got the stop signal yet.
type leaving struct {
	child *process.Process // the one that quiets it, or did; nil before
	timer *time.Timer      // of the child, then until the stop signal
}

// askToStop sends the stop signal, to a worker that is replaced a moment later than to others.
func (l *loop) askToStop(w *worker, reason fleet.Reason) {
	hurried := reason == fleet.ReasonStop || reason == fleet.ReasonStartTimeout || w.release.config.StopTimeout <= 2*settle
	if hurried || len(l.sockets.Sockets) == 0 {
		l.sendStop(w)
		return
	}
	w.leaving = &leaving{}
	pid, inodes := w.process.PID, l.sockets.Inodes(w.id.Slot)
	go func() {
		watchers, err := ready.Watchers("/proc", host.Tree("/proc", pid), inodes)
		l.post(func(l *loop) { l.quiet(w, watchers, err) })
	}()
}

// quiet takes the listeners out of the worker's event loops. Where that is not possible it is asked to stop as it is. One
// without any waits in accept, poll or select, and does with a connection what it does before it goes.
func (l *loop) quiet(w *worker, watchers []ready.Watcher, err error) {
	if w.leaving == nil || l.workers[w.id] != w {
		return
	}
	entries := make([]process.Watcher, len(watchers))
	for i, watcher := range watchers {
		entries[i] = process.Watcher(watcher)
	}
	var p *process.Process
	if err == nil {
		p, err = process.StartQuiet(entries, func(err error) {
			l.post(func(l *loop) {
				l.reaped(p)
				l.quieted(w, err)
			})
		})
	}
	switch {
	case p != nil:
		l.keep(p, noSlot)
		w.leaving.child = p
		w.leaving.timer = time.AfterFunc(quietTimeout, p.Kill) // its end is told like any other
	case err != nil:
		l.quieted(w, err)
	default:
		l.sendStop(w)
	}
}

// quieted gives the worker its last moment.
func (l *loop) quieted(w *worker, err error) {
	switch {
	case w.leaving == nil:
	case err != nil:
		l.about(w.id).Debug("cannot keep a worker from taking new connections before it stops", "error", err)
		l.sendStop(w)
	default:
		w.leaving.timer.Stop()
		w.leaving.timer = time.AfterFunc(settle, func() { l.post(func(l *loop) { l.drain(w, nil, 0) }) })
	}
}

// drain looks whether the worker has read what waited on its connections, as far as it is known from the looks before, and
// asks it to stop when it has. What comes later on connections that are kept is not waited for: it would have no end.
func (l *loop) drain(w *worker, before []uint64, looks int) {
	if w.leaving == nil || l.workers[w.id] != w {
		return
	}
	most := int(w.release.config.StopTimeout / 4 / lookEvery)
	pid, inodes := w.process.PID, l.sockets.Inodes(w.id.Slot)
	go func() {
		unread, err := ready.Unread("/proc", host.Tree("/proc", pid), inodes)
		if looks > 0 {
			unread = slices.DeleteFunc(unread, func(inode uint64) bool { return !slices.Contains(before, inode) })
		}
		l.post(func(l *loop) {
			switch {
			case w.leaving == nil || l.workers[w.id] != w:
			case err != nil || len(unread) == 0 || looks >= most:
				l.sendStop(w)
			default:
				w.leaving.timer = time.AfterFunc(lookEvery, func() { l.post(func(l *loop) { l.drain(w, unread, looks+1) }) })
			}
		})
	}()
}

// sendStop sends the stop signal to a worker that has not got it.
func (l *loop) sendStop(w *worker) {
	if w.leaving == nil && w.asked {
		return
	}
	w.endLeaving()
	w.asked = true
	w.process.Signal(w.release.config.StopSignal)
}

// endLeaving forgets what was to come before the stop signal.
func (w *worker) endLeaving() {
	if w.leaving == nil {
		return
	}
	if w.leaving.timer != nil {
		w.leaving.timer.Stop()
	}
	if w.leaving.child != nil {
		w.leaving.child.Kill()
	}
	w.leaving = nil
}

// hurryLeaving sends the stop signal to those that would get it in a moment: the whole fleet stops.
func (l *loop) hurryLeaving() {
	for _, w := range l.workers {
		if w.leaving != nil {
			l.sendStop(w)
		}
	}
}
