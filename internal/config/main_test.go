// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package config

// What the tests share: a command line from its first word to the supervisor's configuration.

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/preforkd/preforkd/supervisor"
)

var update = flag.Bool("update", false, "write docs/flags.md anew")

// read does what `preforkd run` does with its arguments, in an empty environment.
func read(args ...string) (*Options, supervisor.Config, error) { return readWith(nil, args...) }

func readWith(environ []string, args ...string) (*Options, supervisor.Config, error) {
	o, err := Load(args, environ)
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

// file writes a configuration file and returns its path.
func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "preforkd.toml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// fails checks an error's whole text.
func fails(t *testing.T, what string, err error, want string) {
	t.Helper()
	if err == nil || err.Error() != want {
		t.Errorf("%s: %v\nwant %s", what, err, want)
	}
}

func equal[T any](t *testing.T, have, want T) {
	t.Helper()
	if diff := cmp.Diff(want, have, cmpopts.IgnoreUnexported(Options{})); diff != "" {
		t.Errorf("- want, + have:\n%s", diff)
	}
}
