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

	"github.com/spf13/pflag"

	"github.com/preforkd/preforkd/supervisor"
)

// Options is what `preforkd run` was told, field by option.
type Options struct {
	Command                                  []string
	Workers                                  int
	Data, DataOptions, Listen                []string // NAME=SOURCE, NAME.KEY=VALUE, [NAME=]ADDR
	Watch, LockMemory                        bool
	HugePages                                string
	Accept                                   string
	SocketMode                               os.FileMode // 0: by the umask
	Ready                                    string
	StartTimeout, StopTimeout                time.Duration
	BackoffMax                               time.Duration
	StopSignal                               syscall.Signal
	Surge                                    int
	MaxAge, MaxRequests, MaxPrivate          supervisor.Limit // nanoseconds, requests, bytes
	Watchdog                                 time.Duration    // 0: off
	User, Group, Chdir                       string
	Env                                      []string
	Config                                   string
	Name                                     string // empty: not given
	RunDir                                   string
	Stats                                    string
	StatsGiven                               bool
	StatsBudget                              float64
	StatsCert, StatsKey, StatsAuth           string // files
	HideArgs                                 bool
	LogFormat, LogLevel, LogFile, LogWorkers string

	places map[string][]place // where each value comes from; nothing for a default
}

// ErrHelp says that help was asked for and is no error.
var ErrHelp = pflag.ErrHelp

// Load reads the arguments behind the verb, the variables PREFORKD_OPT_… of environ (NAME=VALUE) and the file that one of
// them names with config. A flag wins over a variable, a variable over the file, also where the option is a list. What
// is overridden must be right all the same. The error tells every wrong value of all three.
//
// Flags end at the first other word or at --: all that follows is the worker's command line. A reload calls Load again
// with the same arguments and environment.
func Load(args, environ []string) (*Options, error) {
	line, err := readFlags(args)
	if err != nil {
		return nil, err
	}
	variables, problems := readVariables(environ)
	var file source
	var unread bool
	if it := given("config", line, variables); it.text != "" {
		var wrong []error
		file, wrong = readFile(it)
		problems = append(problems, wrong...)
		unread = len(wrong) > 0 // the command may stand there
	}
	o := defaults()
	for _, s := range []source{file, variables, line} {
		problems = append(problems, o.apply(s)...)
	}
	o.StatsGiven = len(o.places["stats"]) > 0
	if !unread && o.Command == nil || len(o.Command) > 0 && o.Command[0] == "" { // a wrong command is told already
		problems = append(problems, errors.New("cannot run without a command: write it behind --, as in preforkd -w 4 -- python app.py"))
	}
	if info, err := os.Stat(o.Chdir); o.Chdir != "" && err != nil {
		problems = append(problems, fmt.Errorf("cannot use %s: %v", o.spell("chdir", o.Chdir), errors.Unwrap(err)))
	} else if o.Chdir != "" && !info.IsDir() {
		problems = append(problems, fmt.Errorf("cannot use %s: it is not a directory", o.spell("chdir", o.Chdir)))
	}
	problems = append(problems, o.checkGuards()...)
	if len(problems) == 0 { // else a dataset may be missing because it is wrong
		problems = o.checkDataOptions()
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return o, nil
}

// checkGuards refuses what would guard a stats address that there is not.
func (o *Options) checkGuards() (problems []error) {
	if o.Stats != "off" {
		return nil
	}
	for _, guard := range [][2]string{{"stats-cert", o.StatsCert}, {"stats-key", o.StatsKey}, {"stats-auth", o.StatsAuth}} {
		if guard[1] != "" {
			problems = append(problems, fmt.Errorf("cannot use %s together with %s: nothing is served that it could guard; "+
				"give --stats an address, or leave it out", o.spell(guard[0], guard[1]), o.spell("stats", o.Stats)))
		}
	}
	return problems
}

// Supervisor returns the supervisor's part of the options. What the process was started with (environment, files) is
// the caller's to fill in.
func (o *Options) Supervisor() (supervisor.Config, error) {
	c := supervisor.Config{
		Command: o.Command, Dir: o.Chdir, Env: o.Env, Workers: o.Workers, Listen: o.Listen, Accept: o.Accept, SocketMode: o.SocketMode,
		Ready: o.Ready, StartTimeout: o.StartTimeout, StopSignal: o.StopSignal, StopTimeout: o.StopTimeout, BackoffMax: o.BackoffMax,
		Surge: &o.Surge, Watchdog: o.Watchdog, MaxAge: o.MaxAge, MaxRequests: o.MaxRequests, MaxPrivate: o.MaxPrivate,
		StatsBudget: o.StatsBudget, HideArgs: o.HideArgs, Watch: o.Watch, HugePages: o.HugePages, LockMemory: o.LockMemory,
	}
	for _, text := range o.Data {
		name, source, _ := strings.Cut(text, "=")
		c.Data = append(c.Data, supervisor.Source{Name: name, Source: source, Options: o.dataOptions(name)})
	}
	var err error
	c.User, err = o.lookupUser()
	return c, err
}

// Origin tells where an option's value comes from: "default", "flag", the variable, as in "PREFORKD_OPT_WORKERS", or the
// line of the file, as in "preforkd.toml:3", of a list its first. The name is that of the flag, or "command".
func (o *Options) Origin(name string) string {
	if places := o.places[name]; len(places) > 0 {
		return places[0].origin()
	}
	return "default"
}

// spell writes an option and its value as they were given, for an error.
func (o *Options) spell(name, value string) string {
	where := place{kind: inFlag, option: name}
	if places := o.places[name]; len(places) > 0 {
		where = places[0]
	}
	return where.with(value)
}

// Frozen tells which of the options that a reload cannot change differ in new. The error names them all; nil means that
// a reload may go on.
func Frozen(old, new *Options) error {
	var changed []string
	for _, opt := range table() {
		if opt.is(frozen) && opt.value(old).String() != opt.value(new).String() {
			changed = append(changed, opt.name)
		}
	}
	if len(changed) == 0 {
		return nil
	}
	return fmt.Errorf("cannot change %s by a reload: preforkd must be restarted for it", strings.Join(changed, ", "))
}
