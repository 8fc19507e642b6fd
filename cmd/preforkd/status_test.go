// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

// The verb status against a real run dir and a real control socket.

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/preforkd/preforkd/internal/api"
	"github.com/preforkd/preforkd/internal/api/apitest"
	"github.com/preforkd/preforkd/internal/rundir"
	"github.com/preforkd/preforkd/supervisor"
)

// served makes a run dir with a served control socket and returns its path and what it shows.
func served(t *testing.T) (string, *apitest.Source) {
	t.Helper()
	return controlled(t, nil)
}

// controlled is served with somebody who takes orders.
func controlled(t *testing.T, control api.Control) (string, *apitest.Source) {
	t.Helper()
	d, err := rundir.Open(rundir.Options{Dir: filepath.Join(t.TempDir(), "run")})
	if err != nil {
		t.Fatal(err)
	}
	source := apitest.NewSource(apitest.Rich())
	server := api.Start(source, control, slog.New(slog.DiscardHandler), listenAt(t, d))
	t.Cleanup(func() {
		if err := errors.Join(server.Close(context.Background()), d.Close()); err != nil {
			t.Error(err)
		}
	})
	return d.Path(), source
}

func listenAt(t *testing.T, d *rundir.Dir) *api.Listener {
	t.Helper()
	path, err := d.ControlPath()
	if err != nil {
		t.Fatal(err)
	}
	l, err := api.ListenControl(path)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func status(args ...string) (code int, stdout, stderr string) {
	var out, errs strings.Builder
	code = statusCmd(args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestStatusShowsATableOrTheJSON(t *testing.T) {
	dir, source := served(t)
	code, stdout, stderr := status("--run-dir", dir, "--color")
	if code != 0 || stderr != "" || !strings.Contains(stdout, "preforkd default, pid 4100") {
		t.Errorf("%d %q\n%s", code, stderr, stdout)
	}
	if strings.Contains(stdout, "\x1b") {
		t.Error("colours without a terminal")
	}
	code, stdout, stderr = status("--run-dir", dir, "--json")
	var got supervisor.Snapshot
	if err := json.Unmarshal([]byte(stdout), &got); code != 0 || stderr != "" || err != nil {
		t.Fatalf("%d %q %v", code, stderr, err)
	}
	if diff := cmp.Diff(apitest.Rich(), &got); diff != "" {
		t.Errorf("-served +printed:\n%s", diff)
	}

	future := apitest.Example()
	future.Schema = 99
	source.View.Store(future)
	if code, _, stderr = status("--run-dir", dir); code != 1 || !strings.Contains(stderr, "schema 99") {
		t.Errorf("a schema of the future: %d %q", code, stderr)
	}
	if code, stdout, _ = status("--run-dir", dir, "--json"); code != 0 || !strings.Contains(stdout, `"schema": 99`) {
		t.Errorf("its JSON: %d %q", code, stdout)
	}
}

func TestStatusWithoutAnInstanceIsExit5(t *testing.T) {
	dir := t.TempDir()
	code, stdout, stderr := status("--run-dir", dir)
	if code != 5 || stdout != "" || !strings.HasPrefix(stderr, "preforkd status: cannot find an instance in "+dir) {
		t.Errorf("%d %q %q", code, stdout, stderr)
	}
	code, _, stderr = status("--name", "nobody-has-this-name")
	if code != 5 || !strings.Contains(stderr, `cannot find instance "nobody-has-this-name"`) {
		t.Errorf("%d %q", code, stderr)
	}
}

func TestAnInstanceThatDoesNotAnswerIsExit1(t *testing.T) {
	d, err := rundir.Open(rundir.Options{Dir: filepath.Join(t.TempDir(), "run")})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	code, _, stderr := status("--run-dir", d.Path())
	if code != 1 || !strings.Contains(stderr, "cannot reach preforkd at "+d.Path()) {
		t.Errorf("without a socket: %d %q", code, stderr)
	}
	l, err := net.Listen("unix", filepath.Join(d.Path(), "control.sock"))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if conn, err := l.Accept(); err == nil {
			conn.Write([]byte("not HTTP\r\n\r\n"))
			conn.Close()
		}
	}()
	defer l.Close()
	if code, _, stderr := status("--run-dir", d.Path()); code != 1 || !strings.Contains(stderr, "cannot reach") {
		t.Errorf("nonsense on the socket: %d %q", code, stderr)
	}
}

func TestWrongUseOfStatusIsExit2(t *testing.T) {
	for _, args := range [][]string{{"--nope"}, {"emb"}, {"--name"}, {"--json=perhaps"}} {
		code, stdout, stderr := status(args...)
		if code != 2 || stdout != "" || !strings.Contains(stderr, "try: preforkd status --help") {
			t.Errorf("%v: %d %q %q", args, code, stdout, stderr)
		}
	}
	code, stdout, stderr := status("--help")
	if code != 0 || stderr != "" || !strings.Contains(stdout, "--run-dir") {
		t.Errorf("--help: %d %q %q", code, stdout, stderr)
	}
}

func TestAFullDiskIsExit1(t *testing.T) {
	dir, _ := served(t)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	for _, args := range [][]string{{"--run-dir", dir}, {"--run-dir", dir, "--json"}} {
		var stderr strings.Builder
		if code := statusCmd(args, full, &stderr); code != 1 || !strings.Contains(stderr.String(), "no space left") {
			t.Errorf("%v: %d %q", args, code, stderr.String())
		}
	}
}
