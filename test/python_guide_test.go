// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: all Python of docs/python.md runs as it stands there: the pieces in their order in one worker, with the values that
// the page tells; its service serves, counts and takes new data in place, and runs alone; its test passes without preforkd.

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
	put(t, filepath.Join(dir, "guide.py"), textOf(t, script(t, "way_in/guide.py")))
	put(t, filepath.Join(dir, "python.md"), textOf(t, guide))
	inGuide(t, dir, "guide.py", "python.md", "--files")
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

func TestThePiecesOfThePythonGuideRun(t *testing.T) {
	dir := guided(t)
	pieces := len(regexp.MustCompile("(?m)^```python$").FindAllString(textOf(t, guide), -1))
	f := shared(t, dir, guideCommand(t, "python guide.py")+" python.md")
	f.until("the end of the page in worker 0", func(s *supervisor.Snapshot) bool {
		ran := -1
		if len(s.Workers) > 0 {
			_, _ = fmt.Sscanf(s.Workers[0].StatusText, "ran %d pieces", &ran)
		}
		return ran >= pieces // more with torch
	})
	f.settled(2)
	f.stop()
}

func TestTheServiceOfThePythonGuideTakesNewDataInPlace(t *testing.T) {
	dir := guided(t)
	f := shared(t, dir, guideCommand(t, "python service.py"))
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
