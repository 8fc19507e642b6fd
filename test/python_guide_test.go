// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: all Python of docs/python.md runs as it stands there: the pieces, saved as one file and started as the page says, as they
// are and with the values checked that the page tells; what they start, a program with a pool of spawned processes among it; the
// service serves, counts and takes new data in place, and runs alone; the test passes without preforkd.

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/preforkd/preforkd/supervisor"
)

const guide = "../docs/python.md"

// guided makes a folder with the files of the page and their data.
func guided(t *testing.T) (dir string) {
	t.Helper()
	dir = place(t)
	put(t, filepath.Join(dir, "pieces.py"), textOf(t, script(t, "way_in/pieces.py")))
	put(t, filepath.Join(dir, "python.md"), textOf(t, guide))
	inGuide(t, dir, "pieces.py", "python.md")
	inGuide(t, dir, "make_data.py")
	return dir
}

// inGuide runs a program of the folder without preforkd.
func inGuide(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command(venv(t, "python"), args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), wayInEnv(t)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
}

func textOf(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// guideCommand is the command of the page that ends in these words, with its lines joined.
func guideCommand(t *testing.T, end string) string {
	t.Helper()
	for line := range strings.Lines(strings.ReplaceAll(textOf(t, guide), "\\\n", " ")) {
		if line, ok := strings.CutPrefix(line, "    preforkd "); ok && strings.HasSuffix(strings.TrimSpace(line), "-- "+end) {
			return "preforkd " + strings.TrimSpace(line)
		}
	}
	t.Fatalf("%s has no command that ends in -- %s", guide, end)
	return ""
}

func TestThePiecesOfThePythonGuideRunAsOneFile(t *testing.T) {
	dir, command := guided(t), guideCommand(t, "python guide.py")
	checked := strings.Replace(command, "guide.py", "pieces.py --check guide.py", 1)
	for _, command := range []string{command, checked} {
		f := shared(t, dir, wayInEnv(t), command)
		f.until("both workers have come to the loop at its end", func(s *supervisor.Snapshot) bool {
			if strings.Contains(f.output(), "Traceback") {
				t.Fatal("the program has failed")
			}
			return len(ready(s)) == 2 && !slices.ContainsFunc(s.Workers, func(w supervisor.Worker) bool { return w.StatusText != "at work" })
		})
		f.stop()
	}
}

func TestTheServiceOfThePythonGuideTakesNewDataInPlace(t *testing.T) {
	dir := guided(t)
	f := shared(t, dir, wayInEnv(t), guideCommand(t, "python service.py"))
	inPlace := func(s *supervisor.Snapshot) bool {
		return len(ready(s)) == 2 && !slices.ContainsFunc(s.Workers, func(w supervisor.Worker) bool { return !slices.Equal(w.InPlace, []string{"emb"}) })
	}
	before := f.until("both take it in place", inPlace)
	stop := load{clients: 2, address: before.Listen[0].Address, right: func(body string) bool {
		var version int
		var first float64
		_, err := fmt.Sscan(body, &version, &first)
		return err == nil && (version == 2) == (first == 7)
	}}.start(t)
	inGuide(t, dir, "-c", `
import numpy as np, os
np.save("next.npy", np.full((100_000, 64), 7, "float32"))
os.rename("next.npy", "emb.npy")`)
	if text := f.must("reload", "emb"); text != "no worker replaced, 2 took the new data in place; emb is now version 2" {
		t.Errorf("reload said %q", text)
	}
	if body, err := get(before.Listen[0].Address); err != nil || body != "2 7.0000\n" {
		t.Errorf("after the reload: %q, %v", body, err)
	}
	result := stop()
	result.nothingLost(t)
	f.until("the requests are counted", func(s *supervisor.Snapshot) bool {
		var counted int64
		for _, w := range s.Workers {
			if w.Requests != nil {
				counted += *w.Requests
			}
		}
		return counted == int64(result.answered)+1
	})
	if after := f.settled(2); !slices.Equal(mainPIDs(before), mainPIDs(after)) {
		t.Errorf("processes %v before, %v after", mainPIDs(before), mainPIDs(after))
	}
	f.stop()
}

func TestTheServiceOfThePythonGuideRunsAlone(t *testing.T) {
	dir, address := guided(t), freeAddress(t)
	put(t, filepath.Join(dir, "service.py"), strings.Replace(textOf(t, filepath.Join(dir, "service.py")), "127.0.0.1:8000", address, 1))
	cmd := exec.CommandContext(t.Context(), venv(t, "python"), "service.py")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), wayInEnv(t)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	within(t, patience, "an answer", func() bool {
		body, err := get(address)
		return err == nil && regexp.MustCompile(`^\d+ -?\d\.\d{4}\n$`).MatchString(body)
	})
	if err := errors.Join(cmd.Process.Signal(syscall.SIGTERM), cmd.Wait()); err != nil {
		t.Error(err)
	}
}

func TestTheTestOfThePythonGuidePassesWithoutPreforkd(t *testing.T) {
	venv(t, "pytest")
	inGuide(t, guided(t), "-m", "pytest", "-q", "test_search.py")
}
