// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package host_test

// The OOM killer: as fixtures tell of it, and at work.

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/preforkd/preforkd/internal/host"
	"github.com/preforkd/preforkd/internal/host/cgrouptest"
)

func TestOOMKillsOfManyMachines(t *testing.T) {
	files, err := filepath.Glob("testdata/oom/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no machines: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			if err := txtar.Write(archive, dir); err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile(filepath.Join(dir, "want"))
			if err != nil {
				t.Fatal(err)
			}
			h := host.Host{Proc: filepath.Join(dir, "proc"), Sys: filepath.Join(dir, "sys")}
			kills, err := h.OOMKills()
			got := strconv.FormatInt(kills, 10)
			if errors.Is(err, host.ErrNoCgroup) {
				got = "none"
			} else if err != nil {
				got = strings.ReplaceAll(err.Error(), h.Sys, "SYS")
			}
			if diff := cmp.Diff(string(want), got+"\n"); diff != "" {
				t.Errorf("%s-want +got\n%s", archive.Comment, diff)
			}
		})
	}
}

// A shell enters a limited cgroup and lets a child eat it up. It is asked about itself, as if we were it.
func TestAKillByTheOOMKillerIsCounted(t *testing.T) {
	if _, err := (host.Host{}).OOMKills(); err != nil {
		t.Skipf("needs a cgroup that counts: %v", err)
	}
	dir := cgrouptest.New(t, 32<<20)
	const script = `echo 0 >"$1"/cgroup.procs && echo in && read -r go && { tail /dev/zero; echo $?; read -r end; }`
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script, "sh", dir)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stdin.Close()
		_ = cmd.Wait() // the shell's status is that of its last read
	}()
	proc := t.TempDir()
	if err := os.Symlink("/proc/"+strconv.Itoa(cmd.Process.Pid), filepath.Join(proc, "self")); err != nil {
		t.Fatal(err)
	}
	kills := func() int64 {
		n, err := host.Host{Proc: proc}.OOMKills()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	lines := bufio.NewScanner(stdout)
	if !lines.Scan() {
		t.Skip("needs to enter a memory cgroup")
	}
	if n := kills(); n != 0 {
		t.Errorf("%d kills in a new cgroup", n)
	}
	if _, err := stdin.Write([]byte("go\n")); err != nil {
		t.Fatal(err)
	}
	if lines.Scan(); lines.Text() != "137" { // 128 + SIGKILL
		t.Fatalf("the child ended with %q: the test shows nothing", lines.Text())
	}
	if n := kills(); n != 1 {
		t.Errorf("%d kills are counted, want 1", n)
	}
}

func BenchmarkOOMKills(b *testing.B) {
	for b.Loop() {
		if _, err := (host.Host{}).OOMKills(); err != nil {
			b.Skip(err)
		}
	}
}
