// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// The binary under test, and the tools of this machine.

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// preforkd is the path of the binary under test, set once by TestMain.
var preforkd string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "preforkd-e2e-")
	if err == nil {
		preforkd, err = build(dir)
	}
	code := 1
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// build makes the binary as `make build` does, where none is given.
func build(dir string) (string, error) {
	if given := os.Getenv("PREFORKD_TEST_BIN"); given != "" {
		return filepath.Abs(given)
	}
	path := filepath.Join(dir, "preforkd")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "./cmd/preforkd")
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build preforkd: %w\n%s", err, out)
	}
	return path, nil
}

// missing skips a test that this machine has no tool for; with PREFORKD_TEST_ALL=1 it fails it.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("PREFORKD_TEST_ALL") == "1" {
		t.Fatalf("needs %s, and PREFORKD_TEST_ALL=1 allows no skip", what)
	}
	t.Skipf("needs %s", what)
}

func asRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

// tool finds a program of the system.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		missing(t, name)
	}
	return path
}

// venv finds a program of the virtual environment.
func venv(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("PREFORKD_TEST_VENV")
	if dir == "" {
		dir = "../.venv"
	}
	bin, err := filepath.Abs(filepath.Join(dir, "bin"))
	if err != nil {
		t.Fatal(err)
	}
	// The environment's interpreter is a link, which may lead to where this user may not go.
	err = exec.Command(filepath.Join(bin, "python"), "-c", "").Run()
	if err == nil {
		_, err = os.Stat(filepath.Join(bin, name))
	}
	if err != nil {
		missing(t, name+" in a virtual environment (PREFORKD_TEST_VENV, or make e2e)")
	}
	return filepath.Join(bin, name)
}

// python finds an interpreter that cred may run (nil: this user). It asks for the interpreter itself: what stands in PATH
// may be a script that starts it.
func python(t *testing.T, cred *syscall.Credential) string {
	t.Helper()
	for _, name := range []string{"python3", "/usr/bin/python3", "/usr/local/bin/python3"} {
		cmd := exec.Command(name, "-c", "import os, sys; print(os.path.realpath(sys.executable))")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
		cmd.Dir = "/"
		if out, err := cmd.Output(); err == nil {
			return strings.TrimSpace(string(out))
		}
	}
	missing(t, "a python3 that the worker's user may run")
	return ""
}

// script returns the absolute path of a file in testdata.
func script(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}
