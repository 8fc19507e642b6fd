// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

// What the verbs that talk to a running instance have in common: finding it, and for those that give an order its progress
// and its end.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/preforkd/preforkd/internal/api"
	"github.com/preforkd/preforkd/internal/rundir"
	"github.com/preforkd/preforkd/internal/tui"
	"github.com/preforkd/preforkd/supervisor"
)

// Exit codes that only verbs have.
const (
	exitData       = int(supervisor.KindData)
	exitNoInstance = 5 // no instance has the name or the directory that was given
)

// verb is one verb that gives an order.
type verb struct {
	words string // what may stand behind the flags
	help  string
	// prepare adds the verb's own flags. What it returns turns the words into the order, or says what is wrong with them.
	prepare func(*pflag.FlagSet) func(words []string) (order, error)
}

// order has a running instance do something and waits until it is done. The sentence is the result.
type order func(ctx context.Context, to *instance, show func(step string)) (sentence string, err error)

// verbs are those of this file, by name.
func verbs() map[string]verb {
	return map[string]verb{"reload": reloadVerb(), "restart": restartVerb(), "scale": scaleVerb(), "stop": stopVerb()}
}

// verbCmd runs the verb called name with the words behind it and returns its exit code.
func verbCmd(name string, args []string, stdout, stderr io.Writer) int {
	v := verbs()[name]
	flags, where := verbFlags(name)
	quiet := flags.BoolP("quiet", "q", false, "say nothing but errors")
	understand := v.prepare(flags)
	help := fmt.Sprintf("Usage: preforkd %s [flags]%s\n\n%s", name, v.words, v.help)
	if code, over := parseVerb(flags, help, args, stdout, stderr); over {
		return code
	}
	do, err := understand(flags.Args())
	if err != nil {
		return misused(stderr, name, err)
	}
	to, err := where.find()
	if err != nil {
		return failed(stderr, name, err)
	}
	progress := tui.NewProgress(stderr, columns(stderr))
	if *quiet {
		progress, stdout = tui.NewProgress(io.Discard, 0), io.Discard
	}
	// The first of these ends the waiting; the next one ends this process in the usual way.
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	sentence, err := do(ctx, to, progress.Show)
	progress.End()
	if errors.Is(err, context.Canceled) {
		err = fmt.Errorf("no longer waiting: the %s goes on (preforkd status shows how far it is)", name)
	}
	if err == nil {
		_, err = fmt.Fprintln(stdout, tui.Clean(sentence))
	}
	if err != nil {
		return failed(stderr, name, err)
	}
	return exitDone
}

// place is where a verb looks for its instance.
type place struct{ name, dir *string }

// verbFlags returns a set with the flags that every verb has. Where the instance was told its place by variables, a verb in
// the same container finds it by them.
func verbFlags(verb string) (*pflag.FlagSet, place) {
	flags := pflag.NewFlagSet(verb, pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.SortFlags = false
	return flags, place{
		name: flags.String("name", cmp.Or(os.Getenv("PREFORKD_OPT_NAME"), rundir.DefaultName), "name of the instance"),
		dir:  flags.String("run-dir", os.Getenv("PREFORKD_OPT_RUN_DIR"), "run directory of the instance, instead of --name"),
	}
}

// parseVerb reads the command line of a verb. over: that was all, with this exit code.
func parseVerb(flags *pflag.FlagSet, help string, args []string, stdout, stderr io.Writer) (code int, over bool) {
	err := flags.Parse(args)
	if errors.Is(err, pflag.ErrHelp) {
		fmt.Fprint(stdout, help, "\nFlags:\n", flags.FlagUsages())
		return exitDone, true
	}
	if err != nil {
		return misused(stderr, flags.Name(), err), true
	}
	return exitDone, false
}

// instance is a running preforkd.
type instance struct {
	*api.Client
	control string // path of its socket
}

func (p place) find() (*instance, error) {
	control, err := rundir.Find(*p.name, *p.dir)
	if err != nil {
		return nil, err
	}
	return &instance{api.Dial(control), control}, nil
}

func misused(stderr io.Writer, verb string, err error) int {
	fmt.Fprintf(stderr, "preforkd %s: cannot read the command line: %v\ntry: preforkd %s --help\n", verb, err, verb)
	return exitUsage
}

// failed writes an error, with the last words of a worker where there are some, and returns its exit code.
func failed(stderr io.Writer, verb string, err error) int {
	fmt.Fprintf(stderr, "preforkd %s: %s\n", verb, tui.Clean(err.Error()))
	if errors.Is(err, rundir.ErrNoInstance) {
		return exitNoInstance
	}
	if failure, ok := errors.AsType[*supervisor.Error](err); ok {
		if code := int(failure.Kind); code == exitUsage || code == exitData {
			return code
		}
	}
	return exitFailed
}

// columns is the width of the terminal that w is; 0 when it is none.
func columns(w io.Writer) int {
	file, ok := w.(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(file.Fd()))
	switch {
	case err != nil:
		return 0
	case width <= 0: // a terminal that nobody told its size
		return 80
	}
	return width
}
