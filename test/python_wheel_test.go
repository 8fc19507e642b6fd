// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: the wheel that `make dist` builds is installed by pip into an empty environment of every Python of this machine, and
// there, without numpy, it imports, its doctor speaks, and a worker reads a dataset, alone and in a process that it spawns.

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// wheelWorker tells the digest of what it reads and waits to be stopped.
const wheelWorker = `
import hashlib, multiprocessing, os, signal, sys
import preforkd

def digest():
    return hashlib.sha256(preforkd.buffer("blob")).hexdigest()

if __name__ == "__main__":
    assert "numpy" not in sys.modules
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        spawned = pool.apply(digest)
    preforkd.ready(digest() + " " + spawned)
    signal.pause()
`

// pythons finds the interpreters from 3.9 on, one for each version: in PATH, of pyenv and of Debian.
func pythons(t *testing.T) map[string]string {
	t.Helper()
	var candidates []string
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		there, _ := filepath.Glob(filepath.Join(dir, "python3*"))
		candidates = append(candidates, there...)
	}
	if home, err := os.UserHomeDir(); err == nil {
		there, _ := filepath.Glob(filepath.Join(home, ".pyenv/versions/*/bin/python3"))
		candidates = append(candidates, there...)
	}
	found := make(map[string]string)
	for _, path := range candidates {
		if strings.HasSuffix(path, "-config") {
			continue
		}
		// The base interpreter: what is in PATH may be pyenv's script, or of a virtual environment.
		out, err := exec.Command(path, "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3], sys.version_info >= (3, 9), "+
			"sys._base_executable, sep='\\n')").Output()
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		if err == nil && len(lines) == 3 && lines[1] == "True" {
			found[lines[0]] = lines[2]
		}
	}
	return found
}

// wheel builds it as make dist does.
func wheel(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("../hack/dist.sh", dir)
	cmd.Env = append(os.Environ(), "PYTHON="+venv(t, "python"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("hack/dist.sh: %v\n%s", err, out)
	}
	wheels, err := filepath.Glob(filepath.Join(dir, "preforkd-*-py3-none-any.whl"))
	sdists, err2 := filepath.Glob(filepath.Join(dir, "preforkd-*.tar.gz"))
	if err != nil || err2 != nil || len(wheels) != 1 || len(sdists) != 1 {
		t.Fatalf("hack/dist.sh has made %v and %v", wheels, sdists)
	}
	return wheels[0]
}

func TestTheWheelWorksInAnEmptyEnvironmentOfEveryPython(t *testing.T) {
	built, versions := wheel(t), pythons(t)
	if len(versions) == 0 {
		missing(t, "a python3 of 3.9 or newer")
	}
	content := []byte(strings.Repeat("what eight workers share\n", 200_000)) // 4.8 MiB: mapped at a multiple of 2 MiB
	for version, python := range versions {
		t.Run(version, func(t *testing.T) {
			dir := place(t)
			bin := filepath.Join(dir, "venv", "bin", "python")
			environment, pip := []string{python, "-m", "venv", filepath.Join(dir, "venv")}, []string{bin, "-m", "pip"}
			if exec.Command(python, "-c", "from ensurepip import version").Run() != nil { // Debian's without python3-venv
				environment, pip = append(environment, "--without-pip"), []string{venv(t, "python"), "-m", "pip", "--python", bin}
			}
			for _, words := range [][]string{
				environment,
				append(pip, "install", "--quiet", "--no-index", "--disable-pip-version-check", built),
				{bin, "-c", "import preforkd, sys; assert not {'numpy', 'torch'} & set(sys.modules); print(preforkd.__version__)"},
			} {
				cmd := exec.Command(words[0], words[1:]...)
				cmd.Dir = dir
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%q: %v\n%s", words, err, out)
				}
			}
			// doctor exits with 1 where this machine lacks something; that it could look is what counts here.
			doctor := exec.Command(bin, "-m", "preforkd", "doctor")
			doctor.Env = slices.Concat(os.Environ(), []string{"PATH=" + filepath.Dir(preforkd) + ":" + os.Getenv("PATH")})
			out, err := doctor.CombinedOutput()
			if code := doctor.ProcessState.ExitCode(); code > 1 || strings.Contains(string(out), "Traceback") || !strings.Contains(string(out), "ok") {
				t.Errorf("doctor: %v\n%s", err, out)
			}
			blob, app := filepath.Join(dir, "blob.bin"), filepath.Join(dir, "app.py")
			put(t, blob, string(content))
			put(t, app, wheelWorker)
			f := start(t, spec{dir: dir, flags: []string{"-w", "2", "-d", "blob=" + blob, "--ready", "notify"}, command: []string{bin, app}})
			want := fmt.Sprintf("%x", sha256.Sum256(content))
			for _, w := range ready(f.untilReady(2)) {
				if w.StatusText != want+" "+want {
					t.Errorf("worker %d and its child read %q, want %s", w.ID, w.StatusText, want)
				}
			}
			f.stop()
		})
	}
}
