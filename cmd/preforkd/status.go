// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

// preforkd status: the stats of a running instance, once.

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/preforkd/preforkd/internal/tui"
)

const statusHelp = `Usage: preforkd status [flags]

Shows the fleet of a running instance: its datasets, its workers, its memory and what sharing saves.
`

// statusTimeout bounds how long an instance may take to answer; it needs milliseconds.
const statusTimeout = 5 * time.Second

// statusCmd runs the verb status with the words behind it and returns its exit code.
func statusCmd(args []string, stdout, stderr io.Writer) int {
	flags, where := verbFlags("status")
	raw := flags.Bool("json", false, "the JSON of /stats instead of a table")
	color := flags.Bool("color", false, "colours, when standard output is a terminal")
	if code, over := parseVerb(flags, statusHelp, args, stdout, stderr); over {
		return code
	}
	if flags.NArg() > 0 {
		return misused(stderr, "status", fmt.Errorf("unexpected argument %q", flags.Arg(0)))
	}
	of, err := where.find()
	if err == nil {
		err = showStatus(stdout, of, *raw, *color && isTerminal(stdout))
	}
	if err != nil {
		return failed(stderr, "status", err)
	}
	return exitDone
}

func showStatus(stdout io.Writer, of *instance, raw, color bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), statusTimeout)
	defer cancel()
	snapshot, body, err := of.Stats(ctx)
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
