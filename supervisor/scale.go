// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package supervisor

// Scaling: it needs no turn of its own, the fleet does it beside a roll.

import (
	"context"
	"fmt"
	"time"

	"github.com/preforkd/preforkd/internal/fleet"
)

// scaling is somebody who waits until the fleet has its new size.
type scaling struct {
	workers int
	begun   time.Time
	done    chan error
}

// Scale sets the number of workers. It returns when all of them are ready and those beyond it are gone, with a sentence; or an
// *Error when that is not to be expected soon. The end of ctx ends only the waiting.
func (s *Supervisor) Scale(ctx context.Context, workers int) (string, error) {
	if workers < 1 || workers > maxWorkers {
		return "", fail(KindConfig, fmt.Errorf("cannot scale to %d workers: give a number from 1 to %d", workers, maxWorkers))
	}
	sc := &scaling{workers: workers, begun: time.Now(), done: make(chan error, 1)}
	s.post(func(l *loop) {
		l.scalings = append(l.scalings, sc)
		l.step(fleet.Scale{Workers: workers})
	})
	select {
	case err := <-sc.done:
		if err != nil {
			return "", err
		}
		if workers == 1 {
			return "1 worker is ready", nil
		}
		return fmt.Sprintf("%d workers are ready", workers), nil
	case <-ctx.Done():
		return "", ctx.Err()
	case <-s.done:
		return "", fail(KindFleet, fmt.Errorf("cannot scale: %w", errStopping))
	}
}

// ScaleBy makes the fleet larger or smaller by some workers, never below one, and waits for nothing.
func (s *Supervisor) ScaleBy(workers int) {
	s.post(func(l *loop) {
		if l.state.Phase == fleet.Stopping || l.state.Phase == fleet.Stopped {
			return
		}
		l.step(fleet.Scale{Workers: min(max(l.state.Config.Workers+workers, 1), maxWorkers)})
		l.config.Log.Info("scaled", "workers", l.state.Config.Workers)
	})
}

// checkScalings answers those whose wait is over.
func (l *loop) checkScalings() {
	waiting := l.scalings[:0]
	for _, sc := range l.scalings {
		if over, err := l.scaled(sc.workers); over {
			sc.done <- err
		} else {
			waiting = append(waiting, sc)
		}
	}
	clear(l.scalings[len(waiting):])
	l.scalings = waiting
}

// scaled tells whether nothing more is to be waited for.
func (l *loop) scaled(workers int) (over bool, err error) {
	refuse := func(format string, args ...any) (bool, error) {
		return true, fail(KindFleet, fmt.Errorf("cannot scale to %d workers: "+format, append([]any{workers}, args...)...))
	}
	switch {
	case l.state.Phase == fleet.Stopping || l.state.Phase == fleet.Stopped:
		return refuse("%w", errStopping)
	case l.state.Phase == fleet.Idle:
		return false, nil
	case l.state.Config.Workers != workers && l.state.Roll.Workers != workers:
		return refuse("somebody else asked for %d meanwhile", l.state.Config.Workers)
	}
	over = true
	for i := range l.state.Slots {
		slot := &l.state.Slots[i]
		ready := 0
		for _, w := range slot.Workers {
			if w.Phase == fleet.WorkerReady {
				ready++
			}
		}
		switch {
		case i >= workers:
			over = over && len(slot.Workers) == 0
		case ready == 0 && slot.Failures >= rollFailures:
			return refuse("worker %d was not ready in %d starts; it is tried again and again, its log says why", i, slot.Failures)
		case ready == 0:
			over = false
		}
	}
	return over, nil
}
