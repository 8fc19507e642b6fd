// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

// preforkd top: a running instance, live on a terminal.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/preforkd/preforkd/internal/tui/top"
)

const topHelp = `Usage: preforkd top [flags]

Shows a running instance live on this terminal: what sharing saves, its datasets, its workers. Keys sort the
workers, restart one of them, reload the fleet; ? shows them all, q quits.
`

const (
	minInterval = 200 * time.Millisecond
	maxInterval = time.Minute
)

// topCmd runs the verb top with the words behind it and returns its exit code.
func topCmd(args []string, stdout, stderr io.Writer) int {
	flags, where := verbFlags("top")
	interval := flags.Duration("interval", time.Second, "time between two looks, 200ms to 1m")
	plain := flags.Bool("no-color", os.Getenv("NO_COLOR") != "", "no colours; also by a variable NO_COLOR that is not empty")
	if code, over := parseVerb(flags, topHelp, args, stdout, stderr); over {
		return code
	}
	switch {
	case flags.NArg() > 0:
		return misused(stderr, "top", fmt.Errorf("unexpected argument %q", flags.Arg(0)))
	case *interval < minInterval || *interval > maxInterval:
		return misused(stderr, "top", fmt.Errorf("--interval %v: give a time from 200ms to 1m", *interval))
	}
	screen, err := terminal(stdout)
	if err != nil {
		fmt.Fprintf(stderr, "preforkd top: cannot show a screen: %v; preforkd status shows the same once\n", err)
		return exitUsage
	}
	of, err := where.find()
	if err != nil {
		return failed(stderr, "top", err)
	}
	// The first of these ends the screen as q does; the next one ends this process in the usual way.
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	context.AfterFunc(ctx, stop)
	err = top.Run(ctx, top.Options{
		Instance: of, Input: os.Stdin, Output: screen, Environment: os.Environ(), Interval: *interval, Color: !*plain,
	})
	if err != nil {
		return failed(stderr, "top", err)
	}
	return exitDone
}

// terminal is the terminal for a screen, or what is wrong with it.
func terminal(stdout io.Writer) (*os.File, error) {
	file, ok := stdout.(*os.File)
	switch kind := os.Getenv("TERM"); {
	case !ok || !term.IsTerminal(int(file.Fd())):
		return nil, errors.New("standard output is not a terminal")
	case !term.IsTerminal(int(os.Stdin.Fd())):
		return nil, errors.New("standard input is not a terminal, so no key would come")
	case kind == "" || kind == "dumb":
		return nil, fmt.Errorf("TERM is %q, which tells of no terminal that can", kind)
	}
	return file, nil
}
