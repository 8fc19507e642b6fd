// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"os"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/preforkd/preforkd/internal/contract"
	"github.com/preforkd/preforkd/internal/host"
	"github.com/preforkd/preforkd/supervisor"
)

// defaultStats is where the stats are served when nothing else is said: only this machine may look.
const defaultStats = "127.0.0.1:9797"

// option is one setting, under the same name as a flag, a variable and a key of the file.
type option struct {
	group, name, short string
	arg                string // how the value is written in help
	help               string
	value              func(*Options) pflag.Value
	traits             traits
}

type traits int

const (
	numeric traits = 1 << iota // the file may have it as a number
	frozen                     // a reload cannot change it
	outside                    // not for the file
	boolean                    // a flag without a value means true; the file may have it as a boolean
	nested                     // NAME.KEY=VALUE, which the file may have as tables in tables; values may be secret: they are never shown
)

func (opt option) is(t traits) bool { return opt.traits&t != 0 }

// repeatable tells whether each time that it is given adds a value.
func (opt option) repeatable() bool {
	_, ok := opt.value(&Options{}).(list)
	return ok
}

// depth is how many names below its own the file may have.
func (opt option) depth() int {
	switch {
	case opt.is(nested):
		return 2
	case opt.repeatable():
		return 1
	}
	return 0
}

// defaults is what holds where nothing is given.
func defaults() *Options {
	return &Options{
		Workers: host.CPUs(), Accept: "shared", Ready: "auto", StartTimeout: time.Minute, StopSignal: syscall.SIGTERM,
		StopTimeout: 25 * time.Second, BackoffMax: 30 * time.Second, Surge: 1, Stats: defaultStats, StatsBudget: 0.01,
		HugePages: "auto", LogFormat: "auto", LogLevel: "info", LogWorkers: "pass", places: map[string][]place{},
	}
}

// find returns the option of a name.
func find(name string) (option, bool) {
	for _, opt := range table() {
		if opt.name == name {
			return opt, true
		}
	}
	return option{}, false
}

// table is every option in the order of --help.
func table() []option {
	const (
		fleet        = "Fleet"
		memory       = "Data and memory"
		life         = "Starting and stopping"
		replacing    = "Replacing workers"
		surroundings = "The worker's surroundings"
		instance     = "This instance"
		logging      = "Logging"
	)
	return []option{
		{
			fleet, "workers", "w", "N|auto", "workers to run; auto: the CPUs that this cgroup and affinity may use (auto)",
			one(func(o *Options) *int { return &o.Workers }, workers()), numeric,
		},
		{
			fleet, "data", "d", "NAME=SOURCE",
			"a dataset, repeatable. SOURCE: a path, - (standard input), cmd:COMMAND (its output, by /bin/sh -c), https://URL, or " +
				"direct:PATH (no copy: workers open the file or directory itself)",
			many(func(o *Options) *[]string { return &o.Data }, checkData), 0,
		},
		{
			fleet, "data-opt", "", "NAME.KEY=VALUE",
			"how a dataset is loaded, repeatable: sha256=HEX; header=\"NAME: VALUE\", token-file=PATH (of a URL); " +
				"codec=auto|none|gzip|zstd|xz|lz4; format=auto|raw; huge-pages=auto|on|off; lock=true|false; preread=true|false (of direct:)",
			many(func(o *Options) *[]string { return &o.DataOptions }, checkDataOption), nested,
		},
		{
			fleet, "listen", "l", "[NAME=]ADDR",
			"a listening socket, repeatable: :8000, 127.0.0.1:8000, unix:/p.sock, fd://N. Unnamed ones are called http, http2 …; " +
				"sockets given by systemd are taken over",
			many(func(o *Options) *[]string { return &o.Listen }, checkListen), frozen,
		},
		{
			fleet, "accept", "", "shared|reuseport",
			"shared: one socket for all workers; reuseport: one for each, kept open when its worker is replaced (shared)",
			one(func(o *Options) *string { return &o.Accept }, words("shared", "reuseport")), frozen,
		},
		{
			fleet, "socket-mode", "", "OCTAL", "mode of the unix sockets that are made, such as 0660 (by the umask)",
			one(func(o *Options) *os.FileMode { return &o.SocketMode }, fileMode), frozen,
		},
		{
			memory, "watch", "", "true|false", "load a dataset again, and hand it to the workers, whenever its file changes (false)",
			one(func(o *Options) *bool { return &o.Watch }, trueOrFalse), boolean,
		},
		{
			memory, "huge-pages", "", "auto|on|off",
			"hold the data in huge pages. on: and say so where the host has none; preforkd check says what workers get (auto)",
			one(func(o *Options) *string { return &o.HugePages }, words("auto", "on", "off")), 0,
		},
		{
			memory, "lock-memory", "", "true|false",
			"keep the data in RAM: never swapped out. It needs the right to lock so much (ulimit -l, CAP_IPC_LOCK) (false)",
			one(func(o *Options) *bool { return &o.LockMemory }, trueOrFalse), boolean,
		},
		{
			life, "ready", "", "MODE",
			"when a worker counts as ready. auto: it is seen waiting on a listener; notify: it says READY=1; http:PATH: then also " +
				"a GET answers 2xx or 3xx; tcp: a connection is accepted; alive:DURATION (auto)",
			one(func(o *Options) *string { return &o.Ready }, readiness), 0,
		},
		{
			life, "start-timeout", "", "DURATION", "a worker that is not ready by then is a failed start (1m)",
			one(func(o *Options) *time.Duration { return &o.StartTimeout }, duration), 0,
		},
		{
			life, "stop-signal", "", "SIGNAL", "how a worker is asked to stop (TERM)",
			one(func(o *Options) *syscall.Signal { return &o.StopSignal }, stopSignal), 0,
		},
		{
			life, "stop-timeout", "", "DURATION", "a worker that has not stopped by then is killed (25s)",
			one(func(o *Options) *time.Duration { return &o.StopTimeout }, duration), 0,
		},
		{
			life, "backoff-max", "", "DURATION", "longest wait before a worker that dies before it is ready is started again (30s)",
			one(func(o *Options) *time.Duration { return &o.BackoffMax }, duration), 0,
		},
		{
			replacing, "surge", "", "N", "workers beyond --workers while some are replaced; 0: an old one stops first (1)",
			one(func(o *Options) *int { return &o.Surge }, number(0, maxSurge, nil)), numeric,
		},
		{
			replacing, "max-age", "", "DURATION[±JITTER%]", "replace a worker that has lived so long; ±10% if not given (off)",
			one(func(o *Options) *supervisor.Limit { return &o.MaxAge }, limit("a time such as 12h", nanoseconds)), 0,
		},
		{
			replacing, "max-requests", "", "N[±JITTER%]", "replace a worker that has reported so many by X_PREFORKD_REQUESTS (off)",
			one(func(o *Options) *supervisor.Limit { return &o.MaxRequests }, limit("a number such as 10000", count)), numeric,
		},
		{
			replacing, "max-private", "", "SIZE[±JITTER%]", "replace a worker whose own memory, shared data never counted, stays above it (off)",
			one(func(o *Options) *supervisor.Limit { return &o.MaxPrivate }, limit("a size such as 200MiB", size)), 0,
		},
		{
			replacing, "watchdog", "", "DURATION", "abort and replace a worker that does not send WATCHDOG=1 so often (off)",
			one(func(o *Options) *time.Duration { return &o.Watchdog }, durationOrOff), 0,
		},
		{
			surroundings, "user", "", "USER[:GROUP]", "run workers as this user, by name or number",
			one(func(o *Options) *string { return &o.User }, filled("a user's name or number")), frozen,
		},
		{
			surroundings, "group", "", "GROUP", "run workers as this group (the user's own)",
			one(func(o *Options) *string { return &o.Group }, filled("a group's name or number")), frozen,
		},
		{
			surroundings, "chdir", "C", "DIR", "run workers in this directory",
			one(func(o *Options) *string { return &o.Chdir }, filled("a directory")), 0,
		},
		{
			surroundings, "env", "e", "NAME=VALUE", "a variable for the workers, repeatable; placeholders are expanded",
			many(func(o *Options) *[]string { return &o.Env }, checkEnv), 0,
		},
		{
			instance, "config", "", "FILE",
			"a TOML file with these names; flags win over variables (" + contract.OptionPrefix + "WORKERS …), which win over the file",
			one(func(o *Options) *string { return &o.Config }, filled("a file")), outside,
		},
		{
			instance, "name", "", "NAME", "its name, for preforkd status (default)",
			one(func(o *Options) *string { return &o.Name }, instanceName), frozen,
		},
		{
			instance, "run-dir", "", "DIR",
			"where its control socket and the links to the data are (/run/preforkd/NAME for root, else below $XDG_RUNTIME_DIR or the " +
				"temporary folder)",
			one(func(o *Options) *string { return &o.RunDir }, runDir), frozen,
		},
		{
			instance, "stats", "", "ADDR|off",
			"where /stats, /metrics, /healthz and /readyz are served: HOST:PORT, unix:PATH or off (" + defaultStats + ")",
			one(func(o *Options) *string { return &o.Stats }, statsAddress), frozen,
		},
		{
			instance, "stats-budget", "", "PERCENT%", "share of one CPU that exact memory figures may take (1%)",
			one(func(o *Options) *float64 { return &o.StatsBudget }, percent), frozen,
		},
		{
			instance, "stats-cert", "", "FILE", "TLS for the stats address: the certificate, PEM, with those that lead to its issuer; read again when it changes",
			one(func(o *Options) *string { return &o.StatsCert }, filled("a file")), frozen,
		},
		{
			instance, "stats-key", "", "FILE", "the private key of --stats-cert, PEM",
			one(func(o *Options) *string { return &o.StatsKey }, filled("a file")), frozen,
		},
		{
			instance, "stats-auth", "", "FILE",
			"ask for a password at the stats address: lines USER:HASH as htpasswd -B writes them; read again when it changes",
			one(func(o *Options) *string { return &o.StatsAuth }, filled("a file")), frozen,
		},
		{
			instance, "hide-args", "", "true|false", "show the workers' command without its arguments in the stats (false)",
			one(func(o *Options) *bool { return &o.HideArgs }, trueOrFalse), boolean,
		},
		{
			logging, "log-format", "", "auto|text|json", "auto: text on a terminal, JSON elsewhere (auto)",
			one(func(o *Options) *string { return &o.LogFormat }, words("auto", "text", "json")), frozen,
		},
		{
			logging, "log-level", "", "LEVEL", "debug, info, warn or error (info)",
			one(func(o *Options) *string { return &o.LogLevel }, words("debug", "info", "warn", "error")), frozen,
		},
		{
			logging, "log-file", "", "FILE", "write the log there instead of to standard error; USR1 opens it again",
			one(func(o *Options) *string { return &o.LogFile }, filled("a file")), frozen,
		},
		{
			logging, "log-workers", "", "pass|prefix|json|inherit",
			"the workers' output. pass: standard error copied byte for byte, the last 8 KiB kept for error messages; prefix, json: both " +
				"outputs line by line, with the worker's number; inherit: preforkd's own descriptors (pass)",
			one(func(o *Options) *string { return &o.LogWorkers }, words("pass", "prefix", "json", "inherit")), frozen,
		},
	}
}
