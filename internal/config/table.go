// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"time"

	"github.com/spf13/pflag"
)

// defaultStats is where the stats are served when nothing else is said: only this machine may look.
const defaultStats = "127.0.0.1:9797"

// option is one flag. Names are the same in every place where an option can be set.
type option struct {
	group, name, short string
	arg                string // how the value is written in help
	help               string
	define             func(f *pflag.FlagSet, name, short string, o *Options)
}

func text(field func(*Options) *string, def string) func(*pflag.FlagSet, string, string, *Options) {
	return func(f *pflag.FlagSet, name, short string, o *Options) { f.StringVarP(field(o), name, short, def, "") }
}

func list(field func(*Options) *[]string) func(*pflag.FlagSet, string, string, *Options) {
	// StringArray, not StringSlice: a comma belongs to the value.
	return func(f *pflag.FlagSet, name, short string, o *Options) {
		f.StringArrayVarP(field(o), name, short, nil, "")
	}
}

func duration(field func(*Options) *time.Duration, def time.Duration) func(*pflag.FlagSet, string, string, *Options) {
	return func(f *pflag.FlagSet, name, short string, o *Options) { f.DurationVarP(field(o), name, short, def, "") }
}

func value(v func(*Options) pflag.Value) func(*pflag.FlagSet, string, string, *Options) {
	return func(f *pflag.FlagSet, name, short string, o *Options) { f.VarP(v(o), name, short, "") }
}

// table is every option in the order of --help.
func table() []option {
	return []option{
		{
			"Fleet", "workers", "w", "N|auto", "workers to run; auto: the CPUs that this cgroup and affinity may use (auto)",
			value(func(o *Options) pflag.Value { return (*workersValue)(&o.Workers) }),
		},
		{
			"Fleet", "data", "d", "NAME=SOURCE", "a dataset, repeatable. SOURCE: a path, - (standard input) or cmd:COMMAND (its output, by /bin/sh -c)",
			list(func(o *Options) *[]string { return &o.Data }),
		},
		{
			"Fleet", "listen", "l", "[NAME=]ADDR", "a listening socket, repeatable: :8000, 127.0.0.1:8000, unix:/p.sock, fd://N. Unnamed ones are called http, http2 …; sockets given by systemd are taken over",
			list(func(o *Options) *[]string { return &o.Listen }),
		},
		{
			"Starting and stopping", "ready", "", "MODE", "when a worker counts as ready. auto: it is seen waiting on a listener; notify: it says READY=1; alive:DURATION (auto)",
			value(func(o *Options) pflag.Value { return (*readyValue)(&o.Ready) }),
		},
		{
			"Starting and stopping", "start-timeout", "", "DURATION", "a worker that is not ready by then is a failed start (1m)",
			duration(func(o *Options) *time.Duration { return &o.StartTimeout }, time.Minute),
		},
		{
			"Starting and stopping", "stop-signal", "", "SIGNAL", "how a worker is asked to stop (TERM)",
			value(func(o *Options) pflag.Value { return (*signalValue)(&o.StopSignal) }),
		},
		{
			"Starting and stopping", "stop-timeout", "", "DURATION", "a worker that has not stopped by then is killed (25s)",
			duration(func(o *Options) *time.Duration { return &o.StopTimeout }, 25*time.Second),
		},
		{
			"Starting and stopping", "backoff-max", "", "DURATION", "longest wait before a worker that dies before it is ready is started again (30s)",
			duration(func(o *Options) *time.Duration { return &o.BackoffMax }, 30*time.Second),
		},
		{
			"The worker's surroundings", "user", "", "USER[:GROUP]", "run workers as this user, by name or number",
			text(func(o *Options) *string { return &o.User }, ""),
		},
		{
			"The worker's surroundings", "group", "", "GROUP", "run workers as this group (the user's own)",
			text(func(o *Options) *string { return &o.Group }, ""),
		},
		{
			"The worker's surroundings", "chdir", "C", "DIR", "run workers in this directory",
			text(func(o *Options) *string { return &o.Chdir }, ""),
		},
		{
			"The worker's surroundings", "env", "e", "NAME=VALUE", "a variable for the workers, repeatable; placeholders are expanded",
			list(func(o *Options) *[]string { return &o.Env }),
		},
		{
			"This instance", "name", "", "NAME", "its name, for preforkd status (default)",
			text(func(o *Options) *string { return &o.Name }, ""),
		},
		{
			"This instance", "run-dir", "", "DIR", "where its control socket and the links to the data are (/run/preforkd/NAME for root, else below $XDG_RUNTIME_DIR or the temporary folder)",
			text(func(o *Options) *string { return &o.RunDir }, ""),
		},
		{
			"This instance", "stats", "", "ADDR|off", "where /stats, /metrics, /healthz and /readyz are served: HOST:PORT, unix:PATH or off (" + defaultStats + ")",
			text(func(o *Options) *string { return &o.Stats }, defaultStats),
		},
		{
			"This instance", "stats-budget", "", "PERCENT%", "share of one CPU that exact memory figures may take (1%)",
			value(func(o *Options) pflag.Value { return (*percentValue)(&o.StatsBudget) }),
		},
		{
			"Logging", "log-format", "", "auto|text|json", "auto: text on a terminal, JSON elsewhere (auto)",
			value(func(o *Options) pflag.Value { return &choiceValue{&o.LogFormat, []string{"auto", "text", "json"}} }),
		},
		{
			"Logging", "log-level", "", "LEVEL", "debug, info, warn or error (info)",
			value(func(o *Options) pflag.Value {
				return &choiceValue{&o.LogLevel, []string{"debug", "info", "warn", "error"}}
			}),
		},
		{
			"Logging", "log-workers", "", "pass|inherit", "the workers' standard error. pass: copied byte for byte, the last 8 KiB kept for error messages; inherit: preforkd's own descriptor (pass)",
			value(func(o *Options) pflag.Value { return &choiceValue{&o.LogWorkers, []string{"pass", "inherit"}} }),
		},
	}
}
