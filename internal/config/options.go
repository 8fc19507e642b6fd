// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"github.com/preforkd/preforkd/internal/host"
	"github.com/preforkd/preforkd/supervisor"
)

// Options is what `preforkd run` was told, field by flag.
type Options struct {
	Command                         []string
	Workers                         int
	Data, Listen                    []string
	Ready                           string
	StartTimeout, StopTimeout       time.Duration
	BackoffMax                      time.Duration
	StopSignal                      syscall.Signal
	User, Group, Chdir              string
	Env                             []string
	Name                            string // empty: not given
	RunDir                          string
	Stats                           string
	StatsGiven                      bool
	StatsBudget                     float64
	LogFormat, LogLevel, LogWorkers string
}

// ErrHelp says that help was asked for and is no error.
var ErrHelp = pflag.ErrHelp

// Parse reads the arguments behind the verb. Flags end at the first other word or at --: all that follows is the
// worker's command line.
func Parse(args []string) (*Options, error) {
	o := &Options{
		Workers: host.CPUs(), StopSignal: syscall.SIGTERM, StatsBudget: 0.01,
		Ready: "auto", LogFormat: "auto", LogLevel: "info", LogWorkers: "pass",
	}
	flags := pflag.NewFlagSet("preforkd", pflag.ContinueOnError)
	flags.SetInterspersed(false)
	flags.Usage = func() {}
	for _, opt := range table() {
		opt.define(flags, opt.name, opt.short, o)
	}
	if err := flags.Parse(args); err != nil {
		return nil, explain(err)
	}
	o.Command = flags.Args()
	o.StatsGiven = flags.Changed("stats")
	for _, name := range []string{"name", "run-dir", "user", "group", "chdir"} {
		if f := flags.Lookup(name); f.Changed && f.Value.String() == "" {
			return nil, fmt.Errorf("cannot use --%s \"\": the value is empty", name)
		}
	}
	if !utf8.ValidString(o.RunDir) {
		return nil, fmt.Errorf("cannot use --run-dir %q: it is not UTF-8, which PREFORKD_DATA needs", o.RunDir)
	}
	if o.Chdir != "" {
		if info, err := os.Stat(o.Chdir); err != nil {
			return nil, fmt.Errorf("cannot use --chdir %s: %v", o.Chdir, errors.Unwrap(err))
		} else if !info.IsDir() {
			return nil, fmt.Errorf("cannot use --chdir %s: it is not a directory", o.Chdir)
		}
	}
	return o, nil
}

// Supervisor returns the supervisor's part of the options. What the process was started with (environment, files) is
// the caller's to fill in.
func (o *Options) Supervisor() (supervisor.Config, error) {
	c := supervisor.Config{
		Command: o.Command, Dir: o.Chdir, Env: o.Env, Workers: o.Workers, Listen: o.Listen,
		Ready: o.Ready, StartTimeout: o.StartTimeout, StopSignal: o.StopSignal, StopTimeout: o.StopTimeout,
		BackoffMax: o.BackoffMax, StatsBudget: o.StatsBudget,
	}
	for _, text := range o.Data {
		name, source, ok := strings.Cut(text, "=")
		if !ok {
			return c, fmt.Errorf("cannot use --data %q: write NAME=SOURCE, as in --data emb=./emb.npy", text)
		}
		c.Data = append(c.Data, supervisor.Source{Name: name, Source: source})
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{{"start-timeout", o.StartTimeout}, {"stop-timeout", o.StopTimeout}, {"backoff-max", o.BackoffMax}} {
		if d.value <= 0 {
			return c, fmt.Errorf("cannot use --%s %v: give a time above 0, such as 30s", d.flag, d.value)
		}
	}
	var err error
	c.User, err = lookupUser(o.User, o.Group)
	return c, err
}

// explain says what pflag found in the words of all other errors.
func explain(err error) error {
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	var missing *pflag.ValueRequiredError
	switch {
	case errors.As(err, &unknown):
		name := "--" + unknown.GetSpecifiedName()
		if unknown.GetSpecifiedShortnames() != "" {
			name = "-" + unknown.GetSpecifiedName()
		}
		return fmt.Errorf("cannot use %s: there is no such flag%s; preforkd --help lists them",
			name, nearest(unknown.GetSpecifiedName()))
	case errors.As(err, &invalid):
		name := invalid.GetFlag().Name
		reason := errors.Unwrap(err)
		if invalid.GetFlag().Value.Type() == "duration" {
			reason = errors.New("give a time such as 500ms, 30s or 2m")
		}
		return fmt.Errorf("cannot use --%s %q: %v", name, invalid.GetValue(), reason)
	case errors.As(err, &missing):
		return fmt.Errorf("cannot use --%s: its value is missing", missing.GetFlag().Name)
	case errors.Is(err, pflag.ErrHelp):
		return err
	}
	return fmt.Errorf("cannot read the command line: %v", err)
}

// nearest suggests the flag that a misspelt one was meant to be: two slips at most, and most of the word right.
func nearest(name string) string {
	best, distance := "", 3
	for _, opt := range table() {
		if d := editDistance(name, opt.name); d < distance && 2*d < len(name) {
			best, distance = opt.name, d
		}
	}
	if best == "" {
		return ""
	}
	return " (did you mean --" + best + "?)"
}

// editDistance is Levenshtein's.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
