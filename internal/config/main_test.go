// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package config

// What the tests share: a command line from its first word to the supervisor's configuration.

import (
	"flag"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/preforkd/preforkd/supervisor"
)

var update = flag.Bool("update", false, "write docs/flags.md anew")

// read does what `preforkd run` does with its arguments.
func read(args ...string) (*Options, supervisor.Config, error) {
	o, err := Parse(args)
	if err != nil {
		return nil, supervisor.Config{}, err
	}
	c, err := o.Supervisor()
	if err == nil {
		err = c.Validate()
	}
	return o, c, err
}

// good is read of a command line that must be right.
func good(t *testing.T, args ...string) (*Options, supervisor.Config) {
	t.Helper()
	o, c, err := read(args...)
	if err != nil {
		t.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
	return o, c
}

func equal[T any](t *testing.T, have, want T) {
	t.Helper()
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("- want, + have:\n%s", diff)
	}
}
