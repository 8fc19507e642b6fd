// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Orders to a running fleet: by the verbs, as users type them, and by the control socket.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"github.com/preforkd/preforkd/supervisor"
)

// verb runs `preforkd WORD ARG…` against this fleet and returns what it wrote and its exit code.
func (f *fleet) verb(word string, args ...string) (stdout, stderr string, code int) {
	f.t.Helper()
	return f.command(slices.Concat([]string{word, "--run-dir", f.run}, args)...)
}

// command runs preforkd with any arguments where the fleet was started.
func (f *fleet) command(args ...string) (stdout, stderr string, code int) {
	f.t.Helper()
	cmd := exec.Command(preforkd, args...)
	cmd.Dir, cmd.Env = f.dir, append(os.Environ(), "HOME="+f.dir)
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	failure := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](failure); failure != nil && (!ok || !exit.Exited()) {
		f.t.Fatalf("preforkd %q: %v", args, failure)
	}
	return out.String(), err.String(), cmd.ProcessState.ExitCode()
}

// must runs a verb that has to succeed and returns its result sentence.
func (f *fleet) must(word string, args ...string) string {
	f.t.Helper()
	stdout, stderr, code := f.verb(word, args...)
	if code != 0 {
		f.t.Fatalf("preforkd %s %q: exit code %d\n%s%s", word, args, code, stdout, stderr)
	}
	return strings.TrimSpace(stdout)
}

// post gives an order by the control socket and waits for its end.
func (f *fleet) post(path, body string) (text string, err error) {
	response, err := f.stats.Post("http://localhost"+path, "application/json", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d", response.StatusCode)
	}
	for lines := json.NewDecoder(response.Body); ; {
		var line struct {
			Done  bool
			Text  string
			Code  int
			Error string
		}
		if err := lines.Decode(&line); err != nil {
			return "", err
		}
		switch {
		case line.Done && line.Error != "":
			return "", fmt.Errorf("code %d: %s", line.Code, line.Error)
		case line.Done:
			return line.Text, nil
		}
	}
}

func (f *fleet) signal(sig syscall.Signal) {
	f.t.Helper()
	if err := syscall.Kill(f.pid, sig); err != nil {
		f.t.Fatalf("cannot send %v to preforkd: %v", sig, err)
	}
}

// mainPIDs are the pids of the ready workers, by slot.
func mainPIDs(s *supervisor.Snapshot) []int {
	var list []int
	for _, w := range ready(s) {
		list = append(list, *w.PID)
	}
	return list
}

// settled waits until n workers are ready and nothing else is there or going on.
func (f *fleet) settled(n int) *supervisor.Snapshot {
	f.t.Helper()
	return f.until(fmt.Sprintf("%d ready workers and nothing else", n), func(s *supervisor.Snapshot) bool {
		return len(ready(s)) == n && len(s.Workers) == n && s.Supervisor.Operation == nil
	})
}

// logged returns the lines of preforkd's own log (JSON here) with this message.
func (f *fleet) logged(message string) []map[string]any {
	var list []map[string]any
	for line := range strings.Lines(f.output()) {
		entry := map[string]any{}
		if json.Unmarshal([]byte(line), &entry) == nil && entry["msg"] == message {
			list = append(list, entry)
		}
	}
	return list
}
