// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

// preforkd report: what a running instance saves, to paste into an issue or a pull request.

import (
	"context"
	"fmt"
	"io"

	"github.com/preforkd/preforkd/internal/tui"
)

const reportHelp = `Usage: preforkd report [flags]

Writes what a running instance holds and saves as a paragraph and tables in Markdown, to paste into an issue or
a pull request. No path, command or environment variable is in it.
`

// reportCmd runs the verb report with the words behind it and returns its exit code.
func reportCmd(args []string, stdout, stderr io.Writer) int {
	flags, where := verbFlags("report")
	object := flags.Bool("json", false, "the same facts as a JSON object")
	if code, over := parseVerb(flags, reportHelp, args, stdout, stderr); over {
		return code
	}
	if flags.NArg() > 0 {
		return misused(stderr, "report", fmt.Errorf("unexpected argument %q", flags.Arg(0)))
	}
	of, err := where.find()
	if err == nil {
		err = writeReport(stdout, of, *object)
	}
	if err != nil {
		return failed(stderr, "report", err)
	}
	return exitDone
}

func writeReport(stdout io.Writer, of *instance, object bool) error {
	snapshot, err := of.stats(context.Background())
	switch {
	case err != nil:
		return err
	case object:
		return tui.ReportJSON(stdout, snapshot)
	}
	return tui.Report(stdout, snapshot)
}
