// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

// What preforkd tells the service manager that started it, by sd_notify(3): docs/systemd.md.

import (
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/dustin/go-humanize"

	"github.com/preforkd/preforkd/supervisor"
)

// told is the part of a supervisor.Supervisor that a service manager hears of. Updated returns a channel that is closed at
// the next change.
type told interface {
	Snapshot() *supervisor.Snapshot
	Healthy() bool
	Updated() <-chan struct{}
}

// systemd is what has been told, owned by one goroutine.
type systemd struct {
	fleet    told
	log      *slog.Logger
	watchdog time.Duration // between two signs of life, 0 for none

	ready, stopping bool
	reloading       time.Time // when the reload under way began; zero without one
	reloaded        time.Time // the last reload that was told
	status          string
	failed          bool
}

// statusEvery is how often the status line may change; the states are told at once.
const statusEvery = time.Second

// notifySystemd begins to tell the service manager that NOTIFY_SOCKET names, if it does, about a fleet. done tells what there
// is left to tell, waits for that a moment, and ends it.
func notifySystemd(fleet told, log *slog.Logger) (done func()) {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return func() {}
	}
	s := &systemd{fleet: fleet, log: log, watchdog: signOfLife(log)}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { defer close(stopped); s.run(stop) }()
	return func() {
		close(stop)
		select {
		case <-stopped:
		case <-time.After(goodbye):
		}
	}
}

// signOfLife is how often systemd's watchdog is to hear of us, 0 for never: half of what it waits, as sd_watchdog_enabled(3)
// says.
func signOfLife(log *slog.Logger) time.Duration {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("cannot answer systemd's watchdog", "error", err)
	}
	return max(interval/2, 0)
}

func (s *systemd) run(stop <-chan struct{}) {
	status := time.NewTicker(statusEvery)
	defer status.Stop()
	var alive <-chan time.Time
	if s.watchdog > 0 {
		ticker := time.NewTicker(s.watchdog)
		defer ticker.Stop()
		alive = ticker.C
	}
	s.tellStatus(s.fleet.Snapshot())
	for {
		updated := s.fleet.Updated() // before the look: a change after it is not missed
		s.tellState(s.fleet.Snapshot())
		select {
		case <-updated:
		case <-status.C:
			s.tellStatus(s.fleet.Snapshot())
		case <-alive:
			if s.fleet.Healthy() {
				s.send(daemon.SdNotifyWatchdog)
			}
		case <-stop:
			s.tellState(s.fleet.Snapshot())
			return
		}
	}
}

// tellState tells what has changed of the fleet's state.
func (s *systemd) tellState(snap *supervisor.Snapshot) {
	if state := snap.Supervisor.State; state == supervisor.StateStopping || state == supervisor.StateStopped {
		if !s.stopping {
			s.stopping = true
			s.send(daemon.SdNotifyStopping)
		}
		return
	}
	if ready, _ := workers(snap); !s.ready && ready > 0 {
		s.ready = true
		s.send(daemon.SdNotifyReady)
	}
	if !s.ready {
		return
	}
	if op := snap.Supervisor.Operation; op != nil && op.Kind == "reload" {
		if !op.StartedAt.Equal(s.reloading) { // also one that follows another at once
			s.reloading = op.StartedAt
			s.tellReloading()
		}
		return
	}
	last := snap.Supervisor.LastReload
	switch {
	case !s.reloading.IsZero():
		s.reloading = time.Time{}
	case last == nil || last.At.Equal(s.reloaded):
		return
	default: // over before it was seen
		s.tellReloading()
	}
	if last != nil {
		s.reloaded = last.At
	}
	s.send(daemon.SdNotifyReady)
}

// tellReloading carries the time: systemd waits for one that is later than its request (Type=notify-reload).
func (s *systemd) tellReloading() {
	s.send(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
}

func (s *systemd) tellStatus(snap *supervisor.Snapshot) {
	if text := statusLine(snap); text != s.status {
		s.status = text
		s.send("STATUS=" + text)
	}
}

// send gives a message to the service manager. It may wait for a slow one; nobody waits for us.
func (s *systemd) send(message string) {
	if _, err := daemon.SdNotify(false, message); err != nil && !s.failed {
		s.failed = true
		s.log.Warn("cannot tell systemd how the service is", "error", err)
	}
}

// statusLine is what systemctl status shows.
func statusLine(snap *supervisor.Snapshot) string {
	ready, slots := workers(snap)
	switch snap.Supervisor.State {
	case supervisor.StateLoading:
		if len(snap.Data) == 0 {
			return "starting"
		}
		return "loading data, " + loaded(snap.Data)
	case supervisor.StateStopping, supervisor.StateStopped:
		live := 0
		for i := range snap.Workers {
			if snap.Workers[i].PID != nil {
				live++
			}
		}
		return fmt.Sprintf("stopping, %d worker processes left", live)
	case supervisor.StateStarting, supervisor.StateRunning:
	}
	text := fmt.Sprintf("%d of %d workers ready", ready, slots)
	if saved := snap.Memory.Saved; saved != nil && *saved > 0 {
		text += ", saving " + humanize.IBytes(uint64(*saved))
	}
	if op := snap.Supervisor.Operation; op != nil {
		text += fmt.Sprintf("; %s: %d of %d workers replaced", op.Kind, op.Done, op.Total)
	} else if last := snap.Supervisor.LastReload; last != nil && last.Result == supervisor.ReloadFailed {
		text += "; the last reload failed: preforkd status says why"
	}
	return text
}

// workers counts slots, and those of them with a ready worker. A slot in replacement has two rows.
func workers(snap *supervisor.Snapshot) (ready, slots int) {
	seen := map[int]bool{}
	for i := range snap.Workers {
		w := &snap.Workers[i]
		seen[w.ID] = seen[w.ID] || w.Status == supervisor.StatusReady
	}
	for _, isReady := range seen {
		if isReady {
			ready++
		}
	}
	return ready, len(seen)
}

// loaded is how far the load has come: "1.2 GiB of 4.0 GiB", without the second where one size is not known.
func loaded(data []supervisor.Data) string {
	var done, total int64
	known := true
	for i := range data {
		done += data[i].Loaded
		if data[i].Size == nil {
			known = false
		} else {
			total += *data[i].Size
		}
	}
	if !known || total == 0 {
		return humanize.IBytes(uint64(done))
	}
	return humanize.IBytes(uint64(done)) + " of " + humanize.IBytes(uint64(total))
}
