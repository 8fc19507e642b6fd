// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: the way in as a new user goes it, with nothing of ours prepared: the commands of docs/python.md, as they stand there, make
// an environment and data, run the service before and after, with the changed line and then with the package, which pip builds
// from the repository; and it takes new data by the verb that is typed there. It logs how long each step takes and what the
// service holds.

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/preforkd/preforkd/supervisor"
)

// newcomer types commands. PATH leads to the virtual environment first, as after its activation.
type newcomer struct {
	t   *testing.T
	env []string
}

// types runs a line of the page in a folder.
func (n newcomer) types(dir, line string) {
	n.t.Helper()
	began := time.Now()
	cmd := exec.Command("sh", "-c", line)
	cmd.Dir, cmd.Env = dir, slices.Concat(os.Environ(), n.env)
	out, err := cmd.CombinedOutput()
	switch text := string(out); {
	case err == nil:
		n.t.Logf("%.1f s: %s", time.Since(began).Seconds(), line)
	case strings.Contains(text, "ensurepip is not available"):
		missing(n.t, "python3 -m venv (Debian: python3-venv)")
	case regexp.MustCompile("No matching distribution found|Could not find a version").MatchString(text):
		missing(n.t, "a package index, such as PyPI")
	default:
		n.t.Fatalf("%s: %v\n%s", line, err, text)
	}
}

// servesAsBefore starts the service by preforkd and asks it. It returns when it holds three copies less.
func (n newcomer) servesAsBefore(dir, command string, size, held int64, want []string) *fleet {
	n.t.Helper()
	began := time.Now()
	f := shared(n.t, dir, n.env, command)
	listening := f.until("the socket", func(s *supervisor.Snapshot) bool { return len(s.Listen) == 1 })
	firstAnswer(n.t, listening.Listen[0].Address, command, began)
	f.savesThreeOfFour(size, held, 8*mib, want)
	return f
}

// takesNewData puts other data in the place of emb.npy and types the line that tells preforkd. It returns the answers of now.
func (n newcomer) takesNewData(f *fleet, line string, before []string) []string {
	n.t.Helper()
	n.types(f.dir, `python -c 'import numpy as np; np.save("next.npy", np.load("emb.npy")[::-1])' && mv next.npy emb.npy`)
	n.types(f.dir, line)
	snap := f.settled(4)
	now, err := answers(snap.Listen[0].Address)
	if err != nil || slices.Equal(now, before) || snap.Data[0].Version != 2 {
		n.t.Errorf("after %q version %d answers %q, %v; before it %q", line, snap.Data[0].Version, now, err, before)
	}
	return now
}

func TestANewUserComesToOneCopyByTheCommandsOfThePage(t *testing.T) {
	told, began := toldBy(t, guide, "The way in"), time.Now()
	install := toldToInstall(t)
	dir, bin := place(t), t.TempDir()
	if err := os.Symlink(preforkd, filepath.Join(bin, "preforkd")); err != nil {
		t.Fatal(err)
	}
	n := newcomer{t, []string{
		"PATH=" + filepath.Join(dir, "venv", "bin") + ":" + bin + ":" + os.Getenv("PATH"), "PYTHONPATH=", "VIRTUAL_ENV=",
		"PIP_DISABLE_PIP_VERSION_CHECK=1", "PREFORKD_OPT_RUN_DIR=" + filepath.Join(dir, "run"),
	}}
	app := filepath.Join(dir, "app.py")
	program := textOf(t, script(t, "way_in/before.py"))
	put(t, app, program)
	for _, line := range told.prepare {
		n.types(dir, line)
	}
	info, err := os.Stat(filepath.Join(dir, "emb.npy"))
	if err != nil {
		t.Fatal(err)
	}
	answered, held := unshared(t, dir, n.env, told.before[0])
	t.Logf("it held %d MiB", held/mib)

	put(t, app, apply(t, program, told.diffs[0]))
	f := n.servesAsBefore(dir, told.after[0], info.Size(), held, answered)
	now := n.takesNewData(f, "preforkd reload "+strings.Join(told.reload, " "), answered)
	f.stop()
	answered, _ = unshared(t, dir, n.env, told.before[0]) // the changed program, without preforkd
	if !slices.Equal(now, answered) {
		t.Errorf("after the reload preforkd's workers answered %q, the program alone answers %q", now, answered)
	}

	n.types("..", install) // in the repository
	n.types(dir, `python -c 'import preforkd, sys; assert preforkd.__file__.startswith(sys.prefix), preforkd.__file__'`)
	put(t, app, apply(t, program, told.diffs[1]))
	n.servesAsBefore(dir, told.after[0], info.Size(), held, answered).stop()
	t.Logf("%.0f s in all", time.Since(began).Seconds())
}

// toldToInstall is the command of the page that installs the package.
func toldToInstall(t *testing.T) string {
	t.Helper()
	_, section, _ := strings.Cut(textOf(t, guide), "\n## Install the package\n")
	line := regexp.MustCompile(`(?m)^    (pip install .*)$`).FindStringSubmatch(section)
	if line == nil {
		t.Fatalf("%s does not say how to install the package", guide)
	}
	return line[1]
}
