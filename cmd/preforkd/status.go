// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

// preforkd status: the stats of a running instance, once.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/preforkd/preforkd/internal/api"
	"github.com/preforkd/preforkd/internal/rundir"
	"github.com/preforkd/preforkd/internal/tui"
)

// exitNoInstance is a verb's exit code when no instance has the name or the directory it was given.
const exitNoInstance = 5

const statusHelp = `Usage: preforkd status [flags]

Shows the fleet of a running instance: its datasets, its workers, its memory and what sharing saves.

`

// statusTimeout bounds how long an instance may take to answer; it needs milliseconds.
const statusTimeout = 5 * time.Second

// statusCmd runs the verb status with the words behind it and returns its exit code.
func statusCmd(args []string, stdout, stderr io.Writer) int {
	flags := pflag.NewFlagSet("status", pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.SortFlags = false
	name := flags.String("name", rundir.DefaultName, "name of the instance")
	dir := flags.String("run-dir", "", "run directory of the instance, instead of --name")
	raw := flags.Bool("json", false, "the JSON of /stats instead of a table")
	color := flags.Bool("color", false, "colours, when standard output is a terminal")
	err := flags.Parse(args)
	if errors.Is(err, pflag.ErrHelp) {
		fmt.Fprint(stdout, statusHelp, "Flags:\n", flags.FlagUsages())
		return exitDone
	}
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if err != nil {
		fmt.Fprintf(stderr, "preforkd status: cannot read the command line: %v\ntry: preforkd status --help\n", err)
		return exitUsage
	}
	if err := showStatus(stdout, *name, *dir, *raw, *color && isTerminal(stdout)); err != nil {
		fmt.Fprintf(stderr, "preforkd status: %v\n", err)
		if errors.Is(err, rundir.ErrNoInstance) {
			return exitNoInstance
		}
		return exitFailed
	}
	return exitDone
}

func showStatus(stdout io.Writer, name, dir string, raw, color bool) error {
	path, err := rundir.Find(name, dir)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), statusTimeout)
	defer cancel()
	snapshot, body, err := api.Dial(path).Stats(ctx)
	if raw && body != nil {
		_, err = stdout.Write(body) // a schema that this binary does not know is no hindrance here
		return err
	}
	if err != nil {
		return err
	}
	return tui.Status(stdout, snapshot, tui.Options{Color: color})
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
