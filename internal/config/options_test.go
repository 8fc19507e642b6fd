// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/preforkd/preforkd/internal/host"
	"github.com/preforkd/preforkd/supervisor"
)

func TestWithoutFlagsTheDefaultsHold(t *testing.T) {
	o, c := good(t, "app")
	want := Options{
		Command: []string{"app"}, Workers: host.CPUs(), Accept: "shared", Ready: "auto", StartTimeout: time.Minute,
		StopTimeout: 25 * time.Second, BackoffMax: 30 * time.Second, StopSignal: syscall.SIGTERM, Surge: 1, Stats: "127.0.0.1:9797",
		StatsBudget: 0.01, HugePages: "auto", LogFormat: "auto", LogLevel: "info", LogWorkers: "pass",
	}
	equal(t, *o, want)
	if c.User != nil || c.Dir != "" || len(c.Data) > 0 || *c.Surge != 1 {
		t.Errorf("the supervisor gets %+v", c)
	}
}

func TestEveryFlagReachesItsField(t *testing.T) {
	dir, path, digest := t.TempDir(), file(t, ""), strings.Repeat("0f", 32)
	args := []string{
		"-w", "3", "--data", "emb=./emb.npy", "-d", "words=cmd:cat a,b | sort", "-d", "in=-", "-d", "big=direct:/big",
		"--data-opt", "emb.sha256=" + digest, "--data-opt", "big.preread=true", "--data-opt", "emb.codec=none", "--watch", "--huge-pages", "off",
		"--lock-memory", "--listen", ":8000", "-l", "web=unix:/p.sock",
		"--accept", "reuseport", "--socket-mode", "0660", "--ready", "alive:2s", "--start-timeout", "90s", "--stop-signal", "quit",
		"--stop-timeout=1m30s", "--backoff-max", "500ms", "--surge", "2", "--max-age", "12h", "--max-requests", "1000±5%",
		"--max-private", "200MiB+-20%", "--watchdog", "10s", "--user", "0:0", "--group", "0",
		"-C", dir, "--env", "A=1,2", "-e", "B={worker}", "--config", path, "--name", "blue", "--run-dir", "/run/x", "--stats", "unix:/s.sock",
		"--stats-budget", "2.5%", "--stats-cert", "/c", "--stats-key", "/k", "--stats-auth", "/a", "--hide-args",
		"--log-format", "json", "--log-level", "debug", "--log-file", "/l", "--log-workers", "prefix",
		"--", "app", "-w", "9", "--", "x",
	}
	if os.Geteuid() != 0 {
		args = slices.Replace(args, slices.Index(args, "--user"), slices.Index(args, "-C"))
	}
	o, c := good(t, args...)
	want := Options{
		Command: []string{"app", "-w", "9", "--", "x"}, Workers: 3,
		Data:        []string{"emb=./emb.npy", "words=cmd:cat a,b | sort", "in=-", "big=direct:/big"},
		DataOptions: []string{"emb.sha256=" + digest, "big.preread=true", "emb.codec=none"}, Watch: true, HugePages: "off", LockMemory: true,
		Listen: []string{":8000", "web=unix:/p.sock"}, Accept: "reuseport", SocketMode: 0o660, Ready: "alive:2s",
		StartTimeout: 90 * time.Second, StopTimeout: 90 * time.Second, BackoffMax: 500 * time.Millisecond, StopSignal: syscall.SIGQUIT,
		Surge: 2, MaxAge: supervisor.Limit{Value: int64(12 * time.Hour), Jitter: 0.1}, MaxRequests: supervisor.Limit{Value: 1000, Jitter: 0.05},
		MaxPrivate: supervisor.Limit{Value: 200 << 20, Jitter: 0.2}, Watchdog: 10 * time.Second, User: o.User, Group: o.Group,
		Chdir: dir, Env: []string{"A=1,2", "B={worker}"}, Config: path, Name: "blue", RunDir: "/run/x", Stats: "unix:/s.sock", StatsGiven: true,
		StatsBudget: 0.025, StatsCert: "/c", StatsKey: "/k", StatsAuth: "/a", HideArgs: true, LogFormat: "json", LogLevel: "debug", LogFile: "/l", LogWorkers: "prefix",
	}
	equal(t, *o, want)
	surge := 2
	equal(t, c, supervisor.Config{
		Command: want.Command, Workers: 3, Dir: dir, Env: want.Env, User: c.User,
		Data: []supervisor.Source{
			{Name: "emb", Source: "./emb.npy", Options: []string{"sha256=" + digest, "codec=none"}},
			{Name: "words", Source: "cmd:cat a,b | sort"},
			{Name: "in", Source: "-"},
			{Name: "big", Source: "direct:/big", Options: []string{"preread=true"}},
		},
		Watch: true, HugePages: "off", LockMemory: true,
		Listen: want.Listen, Accept: "reuseport", SocketMode: 0o660, Ready: "alive:2s", StartTimeout: want.StartTimeout,
		StopSignal: syscall.SIGQUIT, StopTimeout: want.StopTimeout, BackoffMax: want.BackoffMax, Surge: &surge, Watchdog: want.Watchdog,
		MaxAge: want.MaxAge, MaxRequests: want.MaxRequests, MaxPrivate: want.MaxPrivate, StatsBudget: 0.025, HideArgs: true,
	})
	if os.Geteuid() == 0 && (c.User == nil || o.User != "0:0" || o.Group != "0") {
		t.Errorf("--user and --group give %q, %q, %+v", o.User, o.Group, c.User)
	}
	for _, opt := range table() {
		if o.Origin(opt.name) != "flag" && (os.Geteuid() == 0 || opt.name != "user" && opt.name != "group") {
			t.Errorf("--%s is not in this test", opt.name)
		}
	}
}

func TestValuesThatAreRight(t *testing.T) {
	for _, c := range []struct {
		args []string
		ok   func(*Options) bool
	}{
		{[]string{"-w1"}, func(o *Options) bool { return o.Workers == 1 }},
		{[]string{"-w=2"}, func(o *Options) bool { return o.Workers == 2 }},
		{[]string{"--workers=4096"}, func(o *Options) bool { return o.Workers == 4096 }},
		{[]string{"--workers", "auto"}, func(o *Options) bool { return o.Workers == host.CPUs() }},
		{[]string{"-w", "2", "-w", "5"}, func(o *Options) bool { return o.Workers == 5 }},
		{[]string{"--stop-signal", "TERM"}, func(o *Options) bool { return o.StopSignal == syscall.SIGTERM }},
		{[]string{"--stop-signal", "SIGINT"}, func(o *Options) bool { return o.StopSignal == syscall.SIGINT }},
		{[]string{"--stop-signal", "usr1"}, func(o *Options) bool { return o.StopSignal == syscall.SIGUSR1 }},
		{[]string{"--stop-signal", "12"}, func(o *Options) bool { return o.StopSignal == syscall.SIGUSR2 }},
		{[]string{"--stop-signal", "64"}, func(o *Options) bool { return o.StopSignal == 64 }},
		{[]string{"--ready", "notify"}, func(o *Options) bool { return o.Ready == "notify" }},
		{[]string{"--stats-budget", "100%"}, func(o *Options) bool { return o.StatsBudget == 1 }},
		{[]string{"--stats-budget", "0.1%"}, func(o *Options) bool { return math.Abs(o.StatsBudget-0.001) < 1e-9 }},
		{[]string{"--stats", "127.0.0.1:9797"}, func(o *Options) bool { return o.StatsGiven }},
		{[]string{"--stats", "unix:/x"}, func(o *Options) bool { return o.Stats == "unix:/x" }},
		{[]string{"--chdir", "."}, func(o *Options) bool { return o.Chdir == "." }},
		{[]string{"--env", "EMPTY="}, func(o *Options) bool { return slices.Equal(o.Env, []string{"EMPTY="}) }},
		{[]string{"--data", "x=a=b,c"}, func(o *Options) bool { return slices.Equal(o.Data, []string{"x=a=b,c"}) }},
		{[]string{"--watch=false"}, func(o *Options) bool { return !o.Watch }},
		{[]string{"--watch=1", "--watch=0"}, func(o *Options) bool { return !o.Watch }},
		{[]string{"--lock-memory=true"}, func(o *Options) bool { return o.LockMemory }},
		{[]string{"--surge", "0"}, func(o *Options) bool { return o.Surge == 0 }},
		{[]string{"--watchdog", "off"}, func(o *Options) bool { return o.Watchdog == 0 }},
		{[]string{"--max-age", "off"}, func(o *Options) bool { return o.MaxAge == supervisor.Limit{} }},
		{[]string{"--max-age", "1h30m±0%"}, func(o *Options) bool { return o.MaxAge == supervisor.Limit{Value: int64(90 * time.Minute)} }},
		{[]string{"--max-requests", "7+-50%"}, func(o *Options) bool { return o.MaxRequests == supervisor.Limit{Value: 7, Jitter: 0.5} }},
		{[]string{"--max-private", "500MB"}, func(o *Options) bool { return o.MaxPrivate == supervisor.Limit{Value: 500e6, Jitter: 0.1} }},
		{[]string{"--max-private", "1.5GiB±2.5%"}, func(o *Options) bool { return o.MaxPrivate == supervisor.Limit{Value: 3 << 29, Jitter: 0.025} }},
		{[]string{"--max-private", "512 kib"}, func(o *Options) bool { return o.MaxPrivate.Value == 512<<10 }},
		{[]string{"--socket-mode", "600"}, func(o *Options) bool { return o.SocketMode == 0o600 }},
		{[]string{"--stats", ":0"}, func(o *Options) bool { return o.Stats == ":0" }},
		{[]string{"--log-level", "error"}, func(o *Options) bool { return o.LogLevel == "error" }},
	} {
		if o, _ := good(t, append(c.args, "--", "app")...); !c.ok(o) {
			t.Errorf("%q gives %+v", c.args, o)
		}
	}
}

func TestFlagsThatDoNotExist(t *testing.T) {
	for line, want := range map[string]string{
		"--workers":   "cannot use --workers: its value is missing",
		"-w":          "cannot use --workers: its value is missing",
		"--nope":      "cannot use --nope: there is no such flag; preforkd --help lists them",
		"--worker 3":  "cannot use --worker: there is no such flag (did you mean --workers?); preforkd --help lists them",
		"--wrokers=3": "cannot use --wrokers: there is no such flag (did you mean --workers?); preforkd --help lists them",
		"--chidr x":   "cannot use --chidr: there is no such flag (did you mean --chdir?); preforkd --help lists them",
		"--Data x":    "cannot use --Data: there is no such flag (did you mean --data?); preforkd --help lists them",
		"--x":         "cannot use --x: there is no such flag; preforkd --help lists them",
		"-x":          "cannot use -x: there is no such flag; preforkd --help lists them",
		"-W 3":        "cannot use -W: there is no such flag; preforkd --help lists them",
		"--=3":        "cannot read the command line: bad flag syntax: --=3",
	} {
		_, _, err := read(strings.Fields(line)...)
		fails(t, line, err, want)
	}
}

func TestDirectoriesThatDoNotExist(t *testing.T) {
	_, _, err := read("--chdir", "/no/such", "app")
	fails(t, "missing", err, `cannot use --chdir "/no/such": no such file or directory`)
	_, _, err = readWith([]string{"PREFORKD_OPT_CHDIR=/dev/null"}, "app")
	fails(t, "no directory", err, `cannot use PREFORKD_OPT_CHDIR="/dev/null": it is not a directory`)
	path := file(t, "chdir = '/no/such'")
	_, _, err = read("--config", path, "app")
	fails(t, "from the file", err, "cannot use "+path+`:1:9: chdir = "/no/such": no such file or directory`)
	if _, _, err = read("--config", path, "--chdir", "/", "app"); err != nil {
		t.Errorf("overridden, it need not exist here: %v", err)
	}
}

func TestAllMistakesAreToldTogether(t *testing.T) {
	_, _, err := read("-d", "Emb=x", "-d", "a=", "-l", "8000", "-e", "B", "--")
	if err == nil {
		t.Fatal("it is accepted")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 5 {
		t.Errorf("%d mistakes are told, want 5: %q", len(lines), lines)
	}
	for _, line := range lines {
		if !strings.HasPrefix(line, "cannot ") {
			t.Errorf("%q does not say what cannot be done", line)
		}
	}
}

func TestWhatWouldGuardNothingIsRefused(t *testing.T) {
	const why = ": nothing is served that it could guard; give --stats an address, or leave it out"
	_, _, err := read("--stats", "off", "--stats-cert", "c", "--stats-key", "k", "app")
	fails(t, "TLS", err, "cannot use --stats-cert \"c\" together with --stats \"off\""+why+"\ncannot use --stats-key \"k\" together with --stats \"off\""+why)
	_, err = Load([]string{"--stats", "off", "app"}, []string{"PREFORKD_OPT_STATS_AUTH=users"})
	fails(t, "a password", err, "cannot use PREFORKD_OPT_STATS_AUTH=\"users\" together with --stats \"off\""+why)
	if _, _, err := read("--stats", "unix:/s", "--stats-auth", "users", "app"); err != nil {
		t.Error(err)
	}
}

func TestFlagsEndAtTheCommand(t *testing.T) {
	for _, c := range []struct{ args, want []string }{
		{[]string{"app"}, []string{"app"}},
		{[]string{"app", "-w", "3", "--help", "-x"}, []string{"app", "-w", "3", "--help", "-x"}},
		{[]string{"-w", "3", "app", "--data", "x"}, []string{"app", "--data", "x"}},
		{[]string{"--", "app", "--", "x"}, []string{"app", "--", "x"}},
		{[]string{"app", "--", "x"}, []string{"app", "--", "x"}},
		{[]string{"-w", "3", "--", "--help"}, []string{"--help"}},
		{[]string{"--", "status"}, []string{"status"}},
		{[]string{"-"}, []string{"-"}},
		{[]string{"app", ""}, []string{"app", ""}},
	} {
		if o, _ := good(t, c.args...); !slices.Equal(o.Command, c.want) {
			t.Errorf("%q runs %q, want %q", c.args, o.Command, c.want)
		}
	}
	for _, args := range [][]string{{}, {"--"}, {"-w", "3"}, {""}} {
		_, _, err := read(args...)
		if want := "cannot run without a command: write it behind --, as in preforkd -w 4 -- python app.py"; err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", args, err, want)
		}
	}
}

func TestHelpIsNoError(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"-h"}, {"-w", "3", "--help", "app"}, {"-w3", "-h"}} {
		if _, err := Load(args, nil); !errors.Is(err, ErrHelp) {
			t.Errorf("%q: %v", args, err)
		}
	}
	if _, err := Load([]string{"-w", "x", "--help"}, []string{"PREFORKD_OPT_WORKERS=y"}); !errors.Is(err, ErrHelp) {
		t.Errorf("with mistakes beside it: %v", err)
	}
}

func TestLoadDoesNotPrint(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, stderr := os.Stdout, os.Stderr
	os.Stdout, os.Stderr = w, w
	_, _ = Load([]string{"--help"}, nil)
	_, _ = Load([]string{"--nope"}, nil)
	os.Stdout, os.Stderr = stdout, stderr
	w.Close()
	buffer := make([]byte, 1)
	if n, _ := r.Read(buffer); n > 0 {
		t.Error("it wrote something")
	}
	r.Close()
}
