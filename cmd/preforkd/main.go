// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Command preforkd runs a fleet of workers over one sealed copy of their data. Each verb has its file; flags go in, an exit
// code comes out.
package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/preforkd/preforkd/internal/config"
	"github.com/preforkd/preforkd/supervisor"
)

// Exit codes; those of a running fleet are the numbers of supervisor.Kind.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
	exitListen = 4
)

// The main goroutine must sit on the main thread: workers die with the thread that forked them, and only the main one
// lasts as long as the process and survives a later execve of preforkd. Locking in main() is too late: by then the
// goroutine may have moved (measured: 23 of 60 starts).
func init() { runtime.LockOSThread() } //nolint:gochecknoinits // the program's one init: see above

func main() {
	supervisor.Stage()
	// The heap is a few MiB; collecting it twice as often costs nothing and keeps preforkd small beside its workers.
	debug.SetGCPercent(50)
	os.Exit(dispatch(os.Args[1:], os.Stdout, os.Stderr))
}

// dispatch runs a verb. A verb is only the first word; anything else begins the flags or the command of `run`.
func dispatch(args []string, stdout, stderr io.Writer) int {
	verb := ""
	if len(args) > 0 {
		verb = args[0]
	}
	switch verb {
	case "run":
		return runCmd(args[1:], stdout, stderr)
	case "check":
		return checkCmd(args[1:], stdout, stderr)
	case "status":
		return statusCmd(args[1:], stdout, stderr)
	case "top":
		return topCmd(args[1:], stdout, stderr)
	case "report":
		return reportCmd(args[1:], stdout, stderr)
	case "version", "--version":
		fmt.Fprintln(stdout, "preforkd", buildVersion())
		return exitDone
	case "reload", "restart", "scale", "stop":
		return verbCmd(verb, args[1:], stdout, stderr)
	case "help":
		fmt.Fprint(stdout, usage())
		return exitDone
	}
	return runCmd(args, stdout, stderr)
}

func usage() string {
	return `preforkd runs any number of workers, in any language, over one copy of their data.

  preforkd --workers 8 --data emb=./emb.npy --listen :8000 -- python app.py

Usage:
  preforkd [run] [flags] [--] COMMAND [ARG...]   run a fleet in the foreground
  preforkd check [flags] [--] COMMAND [ARG...]   check everything, load nothing, print the plan
  preforkd status [--json]                       what a running fleet does, holds and saves
  preforkd top                                   the same live on a terminal
  preforkd report [--json]                       the saving, to paste into an issue: Markdown
  preforkd reload [NAME...]                      configuration, data and code anew, without a pause
  preforkd restart [ID...]                       replace workers, without a pause
  preforkd scale N                               run N workers from now on
  preforkd stop [--quick]                        stop the fleet and wait for its end
  preforkd version
The verbs from status to stop find the instance by --name or --run-dir.
` + config.Help() + `
In COMMAND and --env values: {path:NAME} {fd:NAME} {size:NAME} of a dataset, {fd:NAME} {listen:NAME}
{port:NAME} of a listener, {worker} {workers}. {{ instead of { keeps one of them as it is.

Signals: TERM graceful stop; INT, QUIT quick stop, a second one kills; HUP reload; USR1 reopens the log file;
TTIN, TTOU one worker more, one less.
Exit codes: 0 stopped as asked, 1 the fleet failed, 2 usage or configuration, 3 data could not be loaded,
4 could not listen. For the other verbs: 0 done, 1 refused or failed, 2 usage, 3 data, 5 no such instance.
`
}
