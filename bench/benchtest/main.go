// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Command benchtest is the Go half of bench/*.sh: it does one thing at a time, on order, and tells how long that took.
// The Python half (bench/lib) decides what is done when, so that methods take turns, and prints.
//
// Orders are JSON objects, one a line, on standard input; each is answered by one line on standard output. At the end of
// the input it ends. It never decides what is good: it knows no goals.
//
// Five commands: `benchtest` carries out measurements, `benchtest worker` is a web server that preforkd runs, `benchtest
// client ADDRESS` puts it under load, `benchtest hold` is a worker that only maps its dataset, and `benchtest mapper N`
// one that maps a segment on order.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "benchtest:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 0:
		return obey(new(bench).do)
	case args[0] == "worker":
		return serve(len(args) > 1 && args[1] == "takes")
	case args[0] == "client" && len(args) == 2:
		return load(args[1])
	case args[0] == "hold":
		return hold()
	case args[0] == "mapper":
		return obey(new(mapper).do)
	}
	return fmt.Errorf("cannot run %q: there are worker [takes], client ADDRESS, hold and mapper N", strings.Join(args, " "))
}

// order is what is to be done; which fields count depends on Do.
type order struct {
	Do      string
	Path    string // the file that it is about
	Bytes   int64  // how much of it, or how much memory
	Threads int    // or clients
	Block   int64  // bytes of one read
	Kind    string // of content, of mapping, of reading; the page that is asked for
	Huge    bool
	Number  uint64 // generation of the content
	Workers int
	Seconds float64
	Pause   float64 // seconds between the requests of a client, on the average
}

// answer is what came of an order: figures by name.
type answer map[string]any

// obey reads orders and answers them until the end of standard input.
func obey(do func(order) (answer, error)) error {
	in, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	for in.Scan() {
		var o order
		if err := json.Unmarshal(in.Bytes(), &o); err != nil {
			return err
		}
		a, err := do(o)
		if err != nil {
			a = answer{"error": err.Error()}
		}
		if err := out.Encode(a); err != nil {
			return err
		}
	}
	return in.Err()
}
