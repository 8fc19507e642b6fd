// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: the commands of docs/recipes.md in front of a worker take effect in it, and take nothing away: it has the pid that
// the stats name, its data, its sockets, its parent-death signal and its place before preforkd with the OOM killer.

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// recipe is a command in front of the worker's, and what it changes in /proc/PID.
type recipe struct {
	command string
	changes func(t *testing.T, slot, pid int) (found, want string)
}

func recipes() []recipe {
	return []recipe{
		{"nice -n 5", func(t *testing.T, _, pid int) (string, string) {
			own, err := strconv.Atoi(statFields(t, os.Getpid())[16])
			if err != nil {
				t.Fatal(err)
			}
			return statFields(t, pid)[16], strconv.Itoa(min(19, own+5)) // field 19 of stat, nice
		}},
		{"prlimit --nofile=512", func(t *testing.T, _, pid int) (string, string) {
			return strings.Join(strings.Fields(procLine(t, pid, "limits", "Max open files")), " "), "512 512 files"
		}},
		{"taskset -c 0", func(t *testing.T, _, pid int) (string, string) {
			return procLine(t, pid, "status", "Cpus_allowed_list:"), "0"
		}},
		{"setpriv --no-new-privs", func(t *testing.T, _, pid int) (string, string) {
			return procLine(t, pid, "status", "NoNewPrivs:"), "1"
		}},
	}
}

func TestRecipesTakeEffectAndTakeNothingAway(t *testing.T) {
	page, err := os.ReadFile("../docs/recipes.md")
	if err != nil {
		t.Fatal(err)
	}
	all := []string{}
	for _, r := range recipes() {
		if !strings.Contains(string(page), " "+r.command+" ") {
			t.Errorf("docs/recipes.md has no %q", r.command)
		}
		all = append(all, r.command)
		t.Run(strings.Fields(r.command)[0], func(t *testing.T) { tryRecipes(t, []recipe{r}) })
	}
	if whole := strings.Join(all, " "); !strings.Contains(string(page), whole) {
		t.Errorf("docs/recipes.md has no %q", whole)
	}
	t.Run("all", func(t *testing.T) { tryRecipes(t, recipes()) })
	t.Run("a CPU for each", func(t *testing.T) {
		if runtime.NumCPU() < 2 {
			t.Skip("needs two CPUs")
		}
		tryRecipes(t, []recipe{{"taskset -c {worker}", func(t *testing.T, slot, pid int) (string, string) {
			return procLine(t, pid, "status", "Cpus_allowed_list:"), strconv.Itoa(slot)
		}}})
	})
}

func tryRecipes(t *testing.T, recipes []recipe) {
	t.Parallel()
	path, digest := blob(t, mib)
	interpreter := python(t, nil)
	command := []string{interpreter, script(t, "recipe.py")}
	for _, r := range slices.Backward(recipes) {
		words := strings.Fields(r.command)
		tool(t, words[0])
		command = append(words, command...)
	}
	f := start(t, spec{flags: []string{"-w", "2", "--listen", "127.0.0.1:0", "--data", "blob=" + path}, command: command})
	snap := f.untilReady(2)
	for _, w := range snap.Workers {
		pid := *w.PID
		for _, r := range recipes {
			if found, want := r.changes(t, w.ID, pid); found != want {
				t.Errorf("%s: worker %d has %q, want %q", r.command, w.ID, found, want)
			}
		}
		cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			t.Fatal(err)
		}
		if name, _, _ := strings.Cut(string(cmdline), "\x00"); name != interpreter || len(w.PIDs) > 1 {
			t.Errorf("process %d of worker %d is %q, its tree %v: the pid is not the command's own", pid, w.ID, name, w.PIDs)
		}
		if w.StatusText != digest {
			t.Errorf("worker %d has read %q, want %s", w.ID, w.StatusText, digest)
		}
		if found, want := oomScoreAdj(t, pid), min(1000, oomScoreAdj(t, f.pid)+100); found != want {
			t.Errorf("worker %d has oom_score_adj %d, want %d", w.ID, found, want)
		}
	}
	body, err := get(snap.Listen[0].Address)
	var pid int
	if _, malformed := fmt.Sscanf(body, "%d http", &pid); err != nil || malformed != nil ||
		pid != *snap.Workers[0].PID && pid != *snap.Workers[1].PID {
		t.Errorf("the answer is %q, %v", body, err)
	}
	// The parent-death signal cannot be read from outside, so it must show.
	f.killed(snap)
}

// statFields returns what follows the name in /proc/PID/stat.
func statFields(t *testing.T, pid int) []string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
}

// procLine returns what follows key in a file of /proc/PID.
func procLine(t *testing.T, pid int, file, key string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, key); ok {
			return strings.TrimSpace(rest)
		}
	}
	t.Fatalf("/proc/%d/%s has no %s", pid, file, key)
	return ""
}

func oomScoreAdj(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
