// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

// Signals become orders to the supervisor.

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// signals is what this process has caught. They are caught from the first moment to the last, so that none ends preforkd
// in the middle of something; until there is a fleet to obey them they wait.
type signals struct {
	orders   chan os.Signal
	children chan os.Signal
	terminal bool // there was a controlling terminal at the start: HUP means that it is gone
}

func catchSignals() *signals {
	s := &signals{
		orders:   make(chan os.Signal, 16),
		children: make(chan os.Signal, 1), // one is enough: a look at the children sees them all
		terminal: hasTerminal(),
	}
	// PIPE: a reader of our output that went away must not end the fleet; the failed write is enough.
	signal.Notify(s.orders, unix.SIGTERM, unix.SIGINT, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGPIPE)
	if !signal.Ignored(unix.SIGHUP) { // nohup
		signal.Notify(s.orders, unix.SIGHUP)
	}
	if !s.terminal { // with one, the terminal driver sends these for its own reasons and expects the process to stop
		signal.Notify(s.orders, unix.SIGTTIN, unix.SIGTTOU)
	}
	signal.Notify(s.children, unix.SIGCHLD)
	return s
}

// obey hands the signals on for the rest of the program's life.
func (s *signals) obey(control *control, reopen func(), log *slog.Logger) {
	go func() {
		for {
			select {
			case sig := <-s.orders:
				s.order(sig.(syscall.Signal), control, reopen, log)
			case <-s.children:
				control.fleet.ReapOrphans()
			}
		}
	}()
}

func (s *signals) order(sig syscall.Signal, control *control, reopen func(), log *slog.Logger) {
	name, fleet := unix.SignalName(sig), control.fleet
	switch {
	case sig == unix.SIGPIPE:
	case sig == unix.SIGTERM:
		fleet.Stop()
		log.Info("stopping gracefully", "signal", name)
	case sig == unix.SIGINT, sig == unix.SIGQUIT:
		fleet.Quit()
		log.Info("stopping quickly; once more kills", "signal", name)
	case sig == unix.SIGHUP && s.terminal:
		fleet.Stop()
		log.Info("stopping gracefully: the terminal is gone", "signal", name)
	case sig == unix.SIGHUP:
		log.Info("reloading", "signal", name)
		go func() { _, _ = control.Reload(context.Background(), nil) }() // the supervisor logs what comes of it
	case sig == unix.SIGTTIN:
		fleet.ScaleBy(1)
	case sig == unix.SIGTTOU:
		fleet.ScaleBy(-1)
	case sig == unix.SIGUSR1:
		reopen()
	case sig == unix.SIGUSR2:
		log.Warn("cannot upgrade in place yet: start the new preforkd beside this one, or stop this one first", "signal", name)
	}
}

// hasTerminal tells whether this process has a controlling terminal. It must be asked at the start: when the terminal goes,
// the kernel takes it from the session before HUP arrives.
func hasTerminal() bool {
	fd, err := unix.Open("/dev/tty", unix.O_RDONLY|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err == nil {
		unix.Close(fd)
	}
	return err == nil
}
