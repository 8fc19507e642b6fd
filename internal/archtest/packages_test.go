// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package archtest

// The packages of the module as `go list` sees them.

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/preforkd/preforkd"

// A listed package carries the fields of `go list -json` that the tests ask for.
type listed struct {
	ImportPath string
	Doc        string
	Imports    []string // of its own files, tests left out
	GoFiles    []string
}

// room is the import path without the module: "internal/fleet".
func (p listed) room() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
}

// helper tells whether the package only helps tests, as its name ends in "test": no program is linked with it.
func (p listed) helper() bool { return strings.HasSuffix(p.ImportPath, "test") }

var list = sync.OnceValues(func() ([]listed, error) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Doc,Imports,GoFiles", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			return nil, errors.New(string(exit.Stderr))
		}
		return nil, err
	}
	var all []listed
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
})

// packages returns the packages of the module that have code outside tests.
func packages(t *testing.T) []listed {
	t.Helper()
	all, err := list()
	if err != nil {
		t.Fatalf("cannot list the packages: %v", err)
	}
	if len(all) < 5 {
		t.Fatalf("only %d packages found: the tests of this package would prove nothing", len(all))
	}
	return all
}
