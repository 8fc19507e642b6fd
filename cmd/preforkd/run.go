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
	"strings"
	"time"

	"github.com/preforkd/preforkd/internal/api"
	"github.com/preforkd/preforkd/internal/config"
	"github.com/preforkd/preforkd/internal/rundir"
	"github.com/preforkd/preforkd/internal/tui"
	"github.com/preforkd/preforkd/supervisor"
)

// goodbye is how long readers of the stats and of our output may take for the last that they get.
const goodbye = 500 * time.Millisecond

func runCmd(args []string, stdout, stderr io.Writer) int {
	signals := catchSignals()
	load := func() (*config.Options, error) { return config.Load(args, os.Environ()) }
	options, err := load()
	if errors.Is(err, config.ErrHelp) {
		fmt.Fprint(stdout, usage())
		return exitDone
	}
	var cfg supervisor.Config
	if err == nil {
		cfg, err = supervisorConfig(options)
	}
	if err == nil {
		err = cfg.Validate()
	}
	if err == nil {
		err = checkStats(options)
	}
	if err != nil {
		return misconfigured(stderr, err)
	}
	out, err := openSink(options.LogFile, stderr)
	if err != nil {
		return complain(stderr, err, exitUsage)
	}
	defer out.Close() //nolint:errcheck // nobody is left to be told
	reserveThreads()
	bars := loadingBars(options, out)
	own := newOutput(above(bars, out))
	defer own.close(goodbye)
	cfg.Log, cfg.Version, cfg.ReapOrphans = newLogger(options, out, own), buildVersion(), true
	drain := logWorkers(&cfg, options.LogWorkers, out, above(bars, stderr))
	control := &control{load: load, options: options, log: cfg.Log}
	code, err := serve(options, cfg, signals, control, bars, func() { reopen(out, cfg.Log) })
	drain(goodbye)
	if err == nil {
		return exitDone
	}
	if options.LogFile != "" {
		complain(stderr, err, code)
	}
	return complain(own, err, code)
}

// supervisorConfig is the supervisor's part of the options, in the environment of this process.
func supervisorConfig(options *config.Options) (supervisor.Config, error) {
	cfg, err := options.Supervisor()
	cfg.Environ = os.Environ()
	return cfg, err
}

func reopen(out *sink, log *slog.Logger) {
	if out.path == "" {
		log.Info("no log file to reopen: there is no --log-file", "signal", "SIGUSR1")
		return
	}
	if err := out.Reopen(); err != nil {
		log.Error("writing on to the old log file", "error", err)
		return
	}
	log.Info("log file reopened", "signal", "SIGUSR1")
}

// serve runs the fleet with its endpoints and leaves nothing behind. The code is the exit code of the error.
func serve(options *config.Options, cfg supervisor.Config, signals *signals, control *control, bars *tui.Bars, reopen func()) (
	code int, err error,
) {
	if cfg.Inherited, err = inheritedSockets(); err != nil {
		return exitListen, err
	}
	stats, err := listenStats(options)
	switch {
	case err != nil && options.StatsGiven:
		return exitListen, err
	case err != nil:
		cfg.Log.Warn("stats are on the control socket only", "error", err)
	case stats.Warning() != "":
		cfg.Log.Warn("stats are open", "warning", stats.Warning())
	}
	dir, err := rundir.Open(rundir.Options{Name: options.Name, Given: options.Name != "", Dir: options.RunDir})
	switch {
	case errors.Is(err, rundir.ErrUnavailable):
		cfg.Log.Warn("running without a run dir: preforkd status cannot find this instance", "error", err)
	case err != nil:
		closeListener(stats)
		return exitUsage, err
	}
	cfg.Name = options.Name
	var socket *api.Listener
	if dir != nil {
		defer dir.Close()
		if dir.Notice() != "" {
			cfg.Log.Warn("the default name is taken", "notice", dir.Notice())
		}
		cfg.Name, cfg.RunDir = dir.Name(), dir
		if _, err := dir.ControlPath(); err != nil && options.RunDir != "" {
			closeListener(stats)
			return exitUsage, err
		}
		socket = listenControl(dir, cfg.Log)
	}
	s, err := supervisor.New(cfg)
	if err != nil {
		closeListener(stats)
		closeListener(socket)
		return exitUsage, err
	}
	control.fleet = s
	server := api.Start(s, control, cfg.Log, stats, socket)
	signals.obey(control, reopen, cfg.Log)
	systemd := notifySystemd(s, cfg.Log)
	loaded := showLoading(s, bars)
	err = s.Run(context.Background())
	loaded()
	systemd()
	ctx, cancel := context.WithTimeout(context.Background(), goodbye)
	defer cancel()
	_ = server.Close(ctx) // what was cut off were readers of stats
	if failure, ok := errors.AsType[*supervisor.Error](err); ok {
		return int(failure.Kind), err
	}
	return exitFailed, err
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
	return code
}

// misconfigured is complain for what was typed wrong.
func misconfigured(stderr io.Writer, err error) int {
	code := complain(stderr, err, exitUsage)
	fmt.Fprintln(stderr, "try: preforkd --help")
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
