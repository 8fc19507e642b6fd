// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package supervisor

// The books of processes, and how all of them are brought to an end.

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/fleet"
	"github.com/preforkd/preforkd/internal/process"
)

func (l *loop) reapOrphans() {
	if !l.config.ReapOrphans {
		return
	}
	if n := process.ReapOrphans(func(pid int) bool { return l.unreaped[pid] != nil }); n > 0 {
		l.config.Log.Debug("reaped orphans", "count", n)
	}
}

// keep puts a process that was just started on the books until its whole group has ended.
func (l *loop) keep(p *process.Process, slot int) {
	l.unreaped[p.PID] = p
	l.processes[p] = slot
	if l.hurry {
		p.Hurry(quickTimeout)
	}
	go func() {
		<-p.Gone()
		l.post(func(l *loop) {
			l.reaped(p)
			delete(l.processes, p)
			l.publish()
		})
	}()
}

// reaped notes that a pid is no longer ours, and looks at the orphans: an own zombie hides those behind it.
func (l *loop) reaped(p *process.Process) {
	if l.unreaped[p.PID] == p {
		delete(l.unreaped, p.PID)
	}
	l.reapOrphans()
}

// quit is a quick stop; the second one kills. The fleet knows of its workers, not of what they leave in their groups.
func (l *loop) quit() {
	again := l.hurry
	l.hurry = true
	for p := range l.processes {
		p.Hurry(quickTimeout)
	}
	l.stopLoading()
	l.step(fleet.Quit{})
	if again {
		l.kill()
	}
}

func (l *loop) kill() {
	l.stopLoading()
	l.patience = time.Now()
	l.step(fleet.Kill{})
	for p := range l.processes {
		p.Kill()
	}
}

// strays ends what is left when all workers and their groups are gone: processes that made themselves independent (setsid, a
// daemon's double fork) and came to us as their subreaper, holding memory and sockets. It tells whether there still are any.
func (l *loop) strays() bool {
	if !l.config.ReapOrphans {
		return false
	}
	l.reapOrphans()
	pids := process.Orphans()
	if l.asked == nil && len(pids) > 0 {
		l.asked = map[int]bool{}
		if l.patience.IsZero() {
			l.patience = time.Now().Add(l.present().StopTimeout)
		}
		l.config.Log.Warn("ending processes that workers left behind", "pids", pids)
	}
	if hurried := time.Now().Add(quickTimeout); l.hurry && l.patience.After(hurried) {
		l.patience = hurried
	}
	for _, pid := range pids {
		switch {
		case !time.Now().Before(l.patience):
			process.SignalOrphan(pid, unix.SIGKILL)
		case !l.asked[pid]:
			l.asked[pid] = true
			process.SignalOrphan(pid, l.present().StopSignal)
		}
	}
	return len(pids) > 0
}
