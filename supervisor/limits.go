// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package supervisor

// Limits at which a worker is replaced, and the watchdog. What they mean is internal/recycle's; this file tells it what
// is read and heard, and the fleet what follows.

import (
	"log/slog"
	"time"

	"github.com/preforkd/preforkd/internal/fleet"
	"github.com/preforkd/preforkd/internal/memstat"
	"github.com/preforkd/preforkd/internal/recycle"
)

func (r *release) policy() recycle.Policy {
	p := recycle.Policy{
		MaxAge: recycle.Limit(r.config.MaxAge), MaxRequests: recycle.Limit(r.config.MaxRequests), MaxPrivate: recycle.Limit(r.config.MaxPrivate),
		Watchdog: r.config.Watchdog,
	}
	if r.limitless {
		p.MaxPrivate = recycle.Limit{}
	}
	return p
}

func replaceReason(r recycle.Reason) fleet.Reason {
	switch r {
	case recycle.MaxAge:
		return fleet.ReasonAge
	case recycle.MaxRequests:
		return fleet.ReasonRequests
	case recycle.MaxPrivate:
		return fleet.ReasonMemory
	case recycle.Watchdog:
	}
	return fleet.ReasonWatchdog
}

// recycle looks at every ready worker. It is called at each tick, once a second or more often.
func (l *loop) recycle() {
	measured := l.sampler.Latest()
	for id, w := range l.workers {
		if state, _ := l.state.Worker(id); state.Phase != fleet.WorkerReady {
			continue
		}
		m := measured.Workers[memstat.Key{Worker: id.Slot, Incarnation: id.Incarnation}]
		if m != nil && m.Least != nil && !w.release.limitless {
			if refusal, refused := w.limits.Private(*m.Least, l.since(m.LeastAt)); refused {
				l.config.Log.Error("a limit is ignored", "error", refusal.Text(id.Slot, w.release.config.MaxPrivate.Value))
				w.release.limitless = true
			}
		}
		if verdict, due := w.limits.Due(l.now()); due {
			if verdict.Reason == recycle.MaxPrivate && w.release.limitless {
				w.limits.Postpone(l.now())
				continue
			}
			level := slog.LevelInfo
			if verdict.Reason == recycle.Watchdog {
				level = slog.LevelWarn
			}
			l.about(id).Log(l.ctx, level, "replacing worker", "pid", w.process.PID, "reason", verdict.Reason.String(), "because", verdict.Text)
			l.step(fleet.Replace{ID: id, Reason: replaceReason(verdict.Reason)})
		}
	}
}

// nextLimit is when the earliest limit is reached by time alone, or never.
func (l *loop) nextLimit() fleet.Time {
	next := fleet.Never
	for id, w := range l.workers {
		if state, _ := l.state.Worker(id); state.Phase == fleet.WorkerReady {
			next = min(next, w.limits.Next())
		}
	}
	return next
}

// since is a moment on the fleet's clock.
func (l *loop) since(at time.Time) fleet.Time { return at.Sub(l.started) - l.paused }
