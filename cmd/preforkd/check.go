// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

// preforkd check: what run would do and refuse, without loading data or starting anything.

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/config"
	"github.com/preforkd/preforkd/internal/rundir"
	"github.com/preforkd/preforkd/supervisor"
)

// report is what check prints: the supervisor's plan, and what the program adds to it.
type report struct {
	*supervisor.Plan
	Stats    string            `json:"stats"`
	Origins  map[string]string `json:"origins"` // where options come from: default, flag, a variable, a line of the file
	ExitCode int               `json:"exit_code"`
}

const checkHelp = `Usage: preforkd check [--json] [flags] [--] COMMAND [ARG...]

Checks all that preforkd run would check with the same flags, variables and file, loads nothing, starts nothing, and prints the plan.
The exit code is the one that run would end with, 0 when it would run. --json, before everything else, prints it as JSON.

`

// checkCmd runs the verb check with the words behind it and returns the exit code that run would have with them, 0 when
// it would run. --json is the verb's own: the first word, or anywhere before --.
func checkCmd(args []string, stdout, stderr io.Writer) int {
	asJSON := false
	if i := slices.Index(args, "--json"); i == 0 || i > 0 && i < slices.Index(args, "--") {
		asJSON, args = true, slices.Delete(slices.Clone(args), i, i+1)
	}
	options, err := config.Load(args, os.Environ())
	if errors.Is(err, config.ErrHelp) {
		fmt.Fprint(stdout, checkHelp, usage())
		return exitDone
	}
	r := &report{Origins: map[string]string{}}
	if err == nil {
		err = r.plan(options)
	}
	if err != nil {
		return misconfigured(stderr, err)
	}
	if asJSON {
		encoder := json.NewEncoder(stdout)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(r)
	} else {
		err = r.write(stdout)
		for _, p := range r.Problems {
			fmt.Fprintln(stderr, "preforkd:", p.Text)
		}
	}
	if err != nil {
		return complain(stderr, fmt.Errorf("cannot write the plan: %w", err), exitFailed)
	}
	return r.ExitCode
}

// plan goes the way of run: what run opens is opened here too, and closed at once. The error is one of the configuration.
func (r *report) plan(options *config.Options) error {
	cfg, err := options.Supervisor()
	if err == nil {
		err = cfg.Validate()
	}
	if err == nil {
		err = checkStats(options)
	}
	if err != nil {
		return err
	}
	first, warnings := []supervisor.Problem{}, []string{} // those that run meets before the supervisor's
	refuse := func(code supervisor.Kind, err error) {
		first = append(first, supervisor.Problem{ExitCode: code, Text: err.Error()})
	}
	cfg.Environ = os.Environ()
	if err := tryLogFile(options.LogFile); err != nil {
		refuse(exitUsage, err)
	}
	if cfg.Inherited, err = inheritedSockets(); err != nil {
		refuse(exitListen, err)
	}
	stats, err := listenStats(options)
	if open := stats.Warning(); open != "" {
		warnings = append(warnings, open)
	}
	closeListener(stats)
	switch {
	case err != nil && options.StatsGiven:
		refuse(exitListen, err)
	case err != nil:
		warnings = append(warnings, "stats would be on the control socket only: "+err.Error())
	}
	cfg.Name = cmp.Or(options.Name, rundir.DefaultName)
	dir, err := rundir.Open(rundir.Options{Name: options.Name, Given: options.Name != "", Dir: options.RunDir})
	switch {
	case errors.Is(err, rundir.ErrUnavailable):
		warnings = append(warnings, "it would run without a run dir, and preforkd status could not find it: "+err.Error())
	case err != nil:
		refuse(exitUsage, err)
	default:
		cfg.Name, cfg.RunDir = dir.Name(), dir // of which only the paths are asked for
		_, pathErr := dir.ControlPath()
		if pathErr != nil && options.RunDir != "" {
			refuse(exitUsage, pathErr)
		} else if pathErr != nil {
			warnings = append(warnings, pathErr.Error())
		}
		if dir.Notice() != "" {
			warnings = append(warnings, dir.Notice())
		}
		if err := dir.Close(); err != nil {
			warnings = append(warnings, err.Error())
		}
	}
	if r.Plan, err = supervisor.Check(cfg); err != nil {
		return err
	}
	r.Stats = options.Stats
	for _, name := range []string{
		"command", "workers", "surge", "data", "data-opt", "watch", "huge-pages", "lock-memory", "listen", "accept", "ready", "user", "chdir",
		"name", "run-dir", "stats",
	} {
		r.Origins[name] = options.Origin(name)
	}
	r.Problems, r.Warnings = append(first, r.Problems...), append(warnings, r.Warnings...)
	if len(r.Problems) > 0 {
		r.ExitCode = int(r.Problems[0].ExitCode)
	}
	return nil
}

// tryLogFile tells what run would say of a log file, and makes none.
func tryLogFile(path string) error {
	if path == "" {
		return nil
	}
	var err error
	if _, missing := os.Stat(path); errors.Is(missing, fs.ErrNotExist) {
		err = unix.Access(filepath.Dir(path), unix.W_OK|unix.X_OK)
	} else {
		var file *os.File
		if file, err = openLogFile(path); err == nil {
			err = file.Close()
		}
	}
	if err != nil {
		return cannotLog(path, err)
	}
	return nil
}

// write is the plan for people: lines of a name and a value, then the tables.
func (r *report) write(stdout io.Writer) error {
	w := tabwriter.NewWriter(stdout, 0, 8, 2, ' ', 0)
	verdict := "would run"
	if len(r.Problems) > 0 {
		verdict = "would not run, exit code " + strconv.Itoa(r.ExitCode)
	}
	fmt.Fprintf(w, "preforkd %q %s\n\n", r.Name, verdict)
	line := func(name, option, value string) {
		if origin := r.Origins[option]; origin != "" && origin != "default" && origin != "flag" {
			value += " (" + origin + ")"
		}
		fmt.Fprintf(w, "%s\t%s\n", name, printable(value))
	}
	workers := fmt.Sprintf("%d, and %d more while some are replaced", r.Workers, r.Surge)
	if r.Surge == 0 {
		workers = fmt.Sprintf("%d; while some are replaced, one less", r.Workers)
	}
	line("workers", "workers", workers)
	line("command", "command", strings.Join(r.Command, " "))
	if r.Executable != nil {
		line("", "", "which is "+*r.Executable)
	}
	user := fmt.Sprintf("uid %d, gid %d", r.User.UID, r.User.GID)
	if r.User.Name != "" {
		user = r.User.Name + ", " + user
	}
	line("user", "user", user)
	if r.Dir != "" {
		line("directory", "chdir", r.Dir)
	}
	line("ready", "ready", r.Ready)
	line("memory", "", r.memory())
	if r.segments() {
		line("huge pages", "huge-pages", r.hugePages())
	}
	if r.LockMemory.Wanted {
		locked := "the data; any amount"
		if limit := r.LockMemory.Limit; limit != nil {
			locked = "the data; up to " + humanize.IBytes(uint64(*limit))
		}
		line("locked", "lock-memory", locked+" may be")
	}
	if r.Watch {
		line("watch", "watch", "datasets are loaded again when their files change")
	}
	runDir := "none"
	if r.RunDir != nil {
		runDir = *r.RunDir
	}
	line("run dir", "run-dir", runDir)
	line("stats", "stats", r.Stats)
	files := fmt.Sprintf("about %d", r.Files.Needed)
	if r.Files.Limit != nil {
		files += fmt.Sprintf("; %d allowed", *r.Files.Limit)
	}
	line("open files", "", files)
	r.writeData(w)
	if len(r.Listen) > 0 {
		fmt.Fprint(w, "\nLISTENER\tADDRESS\tFD\tACCEPT\tFREE\n")
	}
	for _, l := range r.Listen {
		free := unknown
		if l.Bindable != nil {
			free = map[bool]string{true: "yes", false: "no"}[*l.Bindable]
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", l.Name, printable(l.Address), l.FD, l.Accept, free)
	}
	for i, warning := range r.Warnings {
		if i == 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w, "warning:", printable(warning))
	}
	return w.Flush()
}

// unknown stands for what only the run can tell.
const unknown = "–"

func orUnknown(text *string) string {
	if text == nil {
		return unknown
	}
	return *text
}

// printable makes text safe for a terminal and a table: what cannot be printed is written as in Go.
func printable(text string) string {
	if !strings.ContainsFunc(text, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return text
	}
	quoted := strconv.Quote(text)
	return quoted[1 : len(quoted)-1]
}
