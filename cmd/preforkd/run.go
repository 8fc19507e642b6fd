// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

// preforkd run: a fleet in the foreground.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/api"
	"github.com/preforkd/preforkd/internal/config"
	"github.com/preforkd/preforkd/internal/rundir"
	"github.com/preforkd/preforkd/supervisor"
)

// goodbye is how long clients of the stats may take to read the last answer.
const goodbye = 2 * time.Second

func runCmd(args []string, stdout, stderr io.Writer) int {
	options, err := config.Parse(args)
	if errors.Is(err, config.ErrHelp) {
		fmt.Fprint(stdout, usage())
		return exitDone
	}
	if err != nil {
		return complain(stderr, err, exitUsage)
	}
	cfg, err := options.Supervisor()
	if err == nil {
		err = cfg.Validate()
	}
	if err == nil {
		err = api.CheckAddress(options.Stats)
	}
	if err != nil {
		return complain(stderr, err, exitUsage)
	}
	log := newLogger(options, stderr)
	cfg.Log, cfg.Version, cfg.Environ, cfg.ReapOrphans = log, buildVersion(), os.Environ(), true
	if options.LogWorkers == "pass" {
		cfg.WorkerLog = stderr
	}
	if cfg.Inherited, err = inheritedSockets(); err != nil {
		return complain(stderr, err, exitListen)
	}

	stats, err := api.Listen(options.Stats)
	switch {
	case err != nil && options.StatsGiven:
		return complain(stderr, err, exitListen)
	case err != nil:
		log.Warn("stats are on the control socket only", "error", err)
	}
	dir, err := rundir.Open(rundir.Options{Name: options.Name, Given: options.Name != "", Dir: options.RunDir})
	switch {
	case errors.Is(err, rundir.ErrUnavailable):
		log.Warn("running without a run dir: preforkd status cannot find this instance", "error", err)
	case err != nil:
		closeListener(stats)
		return complain(stderr, err, exitUsage)
	}
	var control *api.Listener
	if dir != nil {
		defer dir.Close()
		if dir.Notice() != "" {
			log.Warn("the default name is taken", "notice", dir.Notice())
		}
		cfg.Name, cfg.RunDir = dir.Name(), dir
		control = listenControl(dir, log)
	} else if options.Name != "" {
		cfg.Name = options.Name
	}

	s, err := supervisor.New(cfg)
	if err != nil {
		closeListener(stats)
		closeListener(control)
		return complain(stderr, err, exitUsage)
	}
	server := api.Start(s, log, stats, control)
	stopSignals := obeySignals(s, log)
	err = s.Run(context.Background())
	stopSignals()
	ctx, cancel := context.WithTimeout(context.Background(), goodbye)
	defer cancel()
	_ = server.Close(ctx) // what was cut off were readers of stats
	if err != nil {
		code := exitFailed
		if failure, ok := errors.AsType[*supervisor.Error](err); ok {
			code = int(failure.Kind)
		}
		return complain(stderr, err, code)
	}
	return exitDone
}

// complain writes an error, each problem on a line of its own, and returns the exit code.
func complain(stderr io.Writer, err error, code int) int {
	text := strings.TrimRight(err.Error(), "\n")
	for i, line := range strings.Split(text, "\n") {
		if i == 0 || strings.HasPrefix(line, "cannot ") {
			line = "preforkd: " + line
		}
		fmt.Fprintln(stderr, line)
	}
	if code == exitUsage {
		fmt.Fprintln(stderr, "try: preforkd --help")
	}
	return code
}

func listenControl(dir *rundir.Dir, log *slog.Logger) *api.Listener {
	path, err := dir.ControlPath()
	var control *api.Listener
	if err == nil {
		control, err = api.ListenControl(path)
	}
	if err != nil {
		log.Warn("running without a control socket: preforkd status cannot find this instance", "error", err)
	}
	return control
}

func closeListener(l *api.Listener) {
	if l != nil {
		l.Close()
	}
}

// obeySignals makes signals orders to the supervisor until the returned function is called.
func obeySignals(s *supervisor.Supervisor, log *slog.Logger) (stop func()) {
	signals := make(chan os.Signal, 8)
	// SIGPIPE: a reader of our output that went away must not end the fleet; the failed write is enough.
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGQUIT, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2,
		unix.SIGTTIN, unix.SIGTTOU, unix.SIGPIPE)
	children := make(chan os.Signal, 1) // one is enough: a look at the children sees them all
	signal.Notify(children, unix.SIGCHLD)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case sig := <-signals:
				obey(sig.(syscall.Signal), s, log)
			case <-children:
				s.ReapOrphans()
			case <-done:
				return
			}
		}
	}()
	return func() { signal.Stop(signals); signal.Stop(children); close(done) }
}

func obey(sig syscall.Signal, s *supervisor.Supervisor, log *slog.Logger) {
	switch sig {
	case unix.SIGPIPE:
		return
	case unix.SIGTERM:
		log.Info("stopping gracefully", "signal", "SIGTERM")
		s.Stop()
	case unix.SIGINT, unix.SIGQUIT:
		log.Info("stopping quickly; once more kills", "signal", unix.SignalName(sig))
		s.Quit()
	case unix.SIGHUP:
		if hasTerminal() {
			log.Info("stopping gracefully: the terminal is gone", "signal", "SIGHUP")
			s.Stop()
			return
		}
		fallthrough
	default:
		log.Warn("cannot obey a signal: this version has no use for it", "signal", unix.SignalName(sig))
	}
}

// hasTerminal tells whether this process has a controlling terminal: then HUP means that it is gone.
func hasTerminal() bool {
	fd, err := unix.Open("/dev/tty", unix.O_RDONLY|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err == nil {
		unix.Close(fd)
	}
	// ENXIO: there is none. EIO: there is one, and it hung up.
	return err == nil || errors.Is(err, unix.EIO)
}
