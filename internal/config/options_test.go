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
		Command: []string{"app"}, Workers: host.CPUs(), Ready: "auto", StartTimeout: time.Minute, StopTimeout: 25 * time.Second,
		BackoffMax: 30 * time.Second, StopSignal: syscall.SIGTERM, Stats: "127.0.0.1:9797", StatsBudget: 0.01,
		LogFormat: "auto", LogLevel: "info", LogWorkers: "pass",
	}
	equal(t, *o, want)
	if c.User != nil || c.Dir != "" || len(c.Data) > 0 {
		t.Errorf("the supervisor gets %+v", c)
	}
}

func TestEveryFlagReachesItsField(t *testing.T) {
	dir := t.TempDir()
	o, c := good(t,
		"-w", "3", "--data", "emb=./emb.npy", "-d", "words=cmd:cat a,b | sort", "-d", "in=-", "--listen", ":8000", "-l", "web=unix:/p.sock",
		"--ready", "alive:2s", "--start-timeout", "90s", "--stop-signal", "quit", "--stop-timeout=1m30s", "--backoff-max", "500ms",
		"-C", dir, "--env", "A=1,2", "-e", "B={worker}", "--name", "blue", "--run-dir", "/run/x", "--stats", "off", "--stats-budget", "2.5%",
		"--log-format", "json", "--log-level", "debug", "--log-workers", "inherit", "--", "app", "-w", "9", "--", "x")
	want := Options{
		Command: []string{"app", "-w", "9", "--", "x"}, Workers: 3,
		Data:   []string{"emb=./emb.npy", "words=cmd:cat a,b | sort", "in=-"},
		Listen: []string{":8000", "web=unix:/p.sock"}, Ready: "alive:2s",
		StartTimeout: 90 * time.Second, StopTimeout: 90 * time.Second, BackoffMax: 500 * time.Millisecond, StopSignal: syscall.SIGQUIT,
		Chdir: dir, Env: []string{"A=1,2", "B={worker}"}, Name: "blue", RunDir: "/run/x", Stats: "off", StatsGiven: true, StatsBudget: 0.025,
		LogFormat: "json", LogLevel: "debug", LogWorkers: "inherit",
	}
	equal(t, *o, want)
	data := []supervisor.Data{{Name: "emb", Source: "./emb.npy"}, {Name: "words", Source: "cmd:cat a,b | sort"}, {Name: "in", Source: "-"}}
	for i, d := range c.Data {
		if d.Name != data[i].Name || d.Source != data[i].Source {
			t.Errorf("dataset %d is %s=%s", i, d.Name, d.Source)
		}
	}
	if len(c.Data) != 3 || c.Workers != 3 || c.Dir != dir || c.Ready != "alive:2s" || c.StopSignal != syscall.SIGQUIT || c.StatsBudget != 0.025 ||
		c.StartTimeout != 90*time.Second || c.StopTimeout != 90*time.Second || c.BackoffMax != 500*time.Millisecond ||
		!slices.Equal(c.Command, want.Command) || !slices.Equal(c.Env, want.Env) || !slices.Equal(c.Listen, want.Listen) {
		t.Errorf("the supervisor gets %+v", c)
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
		{[]string{"--log-level", "error"}, func(o *Options) bool { return o.LogLevel == "error" }},
	} {
		if o, _ := good(t, append(c.args, "--", "app")...); !c.ok(o) {
			t.Errorf("%q gives %+v", c.args, o)
		}
	}
}

func TestValuesThatAreWrongAreOneErrorEach(t *testing.T) {
	for line, want := range map[string]string{
		"--workers 0":             `cannot use --workers "0": give a number from 1 to 4096, or auto`,
		"--workers -3":            `cannot use --workers "-3": give a number from 1 to 4096, or auto`,
		"-w-3":                    `cannot use --workers "-3": give a number from 1 to 4096, or auto`,
		"-w 4097":                 `cannot use --workers "4097": give a number from 1 to 4096, or auto`,
		"-w 99999999999999999999": `cannot use --workers "99999999999999999999": give a number from 1 to 4096, or auto`,
		"--workers 1.5":           `cannot use --workers "1.5": give a number from 1 to 4096, or auto`,
		"--workers=":              `cannot use --workers "": give a number from 1 to 4096, or auto`,
		"--workers":               "cannot use --workers: its value is missing",
		"-w":                      "cannot use --workers: its value is missing",
		"--data emb":              `cannot use --data "emb": write NAME=SOURCE, as in --data emb=./emb.npy`,
		"--listen 8000":           `cannot use --listen "8000": write [NAME=]HOST:PORT, [NAME=]unix:/PATH or [NAME=]fd://N`,
		"--listen :99999":         `cannot use --listen ":99999": port "99999" is not a number from 0 to 65535`,
		"--ready soon":            `cannot use --ready "soon": use auto, notify or alive:DURATION such as alive:1s`,
		"--ready tcp":             `cannot use --ready "tcp": not supported by this version; use auto, notify or alive:DURATION such as alive:1s`,
		"--ready alive:-1s":       `cannot use --ready "alive:-1s": "-1s" is not a positive duration; use auto, notify or alive:DURATION such as alive:1s`,
		"--start-timeout 0":       "cannot use --start-timeout 0s: give a time above 0, such as 30s",
		"--start-timeout 30":      `cannot use --start-timeout "30": give a time such as 500ms, 30s or 2m`,
		"--stop-timeout -5s":      "cannot use --stop-timeout -5s: give a time above 0, such as 30s",
		"--stop-timeout soon":     `cannot use --stop-timeout "soon": give a time such as 500ms, 30s or 2m`,
		"--backoff-max 0s":        "cannot use --backoff-max 0s: give a time above 0, such as 30s",
		"--stop-signal FOO":       `cannot use --stop-signal "FOO": give a signal such as TERM, QUIT or INT`,
		"--stop-signal 0":         `cannot use --stop-signal "0": give a signal such as TERM, QUIT or INT`,
		"--stop-signal 65":        `cannot use --stop-signal "65": give a signal such as TERM, QUIT or INT`,
		"--stop-signal=":          `cannot use --stop-signal "": give a signal such as TERM, QUIT or INT`,
		"--stats-budget 1":        `cannot use --stats-budget "1": give a percentage above 0% and up to 100%, such as 1%`,
		"--stats-budget 0%":       `cannot use --stats-budget "0%": give a percentage above 0% and up to 100%, such as 1%`,
		"--stats-budget 101%":     `cannot use --stats-budget "101%": give a percentage above 0% and up to 100%, such as 1%`,
		"--stats-budget NaN%":     `cannot use --stats-budget "NaN%": give a percentage above 0% and up to 100%, such as 1%`,
		"--log-format xml":        `cannot use --log-format "xml": give one of auto, text, json`,
		"--log-level loud":        `cannot use --log-level "loud": give one of debug, info, warn, error`,
		"--log-workers drop":      `cannot use --log-workers "drop": give one of pass, inherit`,
		"--env A":                 `cannot use --env "A": write NAME=VALUE`,
		"--env LISTEN_FDS=1":      "cannot use --env LISTEN_FDS: preforkd sets or removes this variable for each worker",
		"--chdir /no/such":        "cannot use --chdir /no/such: no such file or directory",
		"--chdir /dev/null":       "cannot use --chdir /dev/null: it is not a directory",
		"--chdir=":                `cannot use --chdir "": the value is empty`,
		"--name=":                 `cannot use --name "": the value is empty`,
		"--run-dir=":              `cannot use --run-dir "": the value is empty`,
		"--user=":                 `cannot use --user "": the value is empty`,
		"--group=":                `cannot use --group "": the value is empty`,

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
		_, _, err := read(append(strings.Fields(line), "app")...)
		if strings.HasSuffix(line, "--workers") || line == "-w" { // nothing follows
			_, _, err = read(line)
		}
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v\nwant %s", line, err, want)
		}
	}
}

// What the supervisor finds out about a command line is told in full.
func TestAllMistakesOfTheSameStepAreTold(t *testing.T) {
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
		if _, err := Parse(args); !errors.Is(err, ErrHelp) {
			t.Errorf("%q: %v", args, err)
		}
	}
	if _, err := Parse([]string{"-w", "x", "--help"}); err == nil || errors.Is(err, ErrHelp) {
		t.Errorf("a mistake in front of it: %v", err)
	}
}

func TestParseDoesNotPrint(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, stderr := os.Stdout, os.Stderr
	os.Stdout, os.Stderr = w, w
	_, _ = Parse([]string{"--help"})
	_, _ = Parse([]string{"--nope"})
	os.Stdout, os.Stderr = stdout, stderr
	w.Close()
	buffer := make([]byte, 1)
	if n, _ := r.Read(buffer); n > 0 {
		t.Error("it wrote something")
	}
	r.Close()
}
