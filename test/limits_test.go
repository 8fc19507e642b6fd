// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: preforkd in a memory cgroup that is too small for its data says so, with both figures, instead of being killed:
// for files before a byte is loaded, for streams while they grow. And it sees the account of its cgroup.

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	humanize "github.com/dustin/go-humanize"

	"github.com/preforkd/preforkd/internal/host/cgrouptest"
	"github.com/preforkd/preforkd/supervisor"
)

const limit = 128 * mib

// enter moves a shell into a cgroup, which then becomes preforkd.
func enter(dir string) []string {
	return []string{"/bin/sh", "-c", `echo $$ > "$0/cgroup.procs" && exec "$@"`, dir}
}

func sparse(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sparse.bin")
	if err := errors.Join(os.WriteFile(path, nil, 0o644), os.Truncate(path, size)); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDataBeyondTheCgroupsLimitIsRefused(t *testing.T) {
	asRoot(t)
	big, half := "="+sparse(t, 256*mib), "="+sparse(t, 80*mib)
	for name, c := range map[string]struct {
		data   []string
		stderr string // with the need; what can be used follows
		peak   int64  // that the cgroup's charge must not have reached
	}{
		"file":     {[]string{"x" + big}, `cannot load dataset "x": needs 257 MiB, `, limit / 2},
		"together": {[]string{"x" + half, "y" + half}, `cannot load datasets "x", "y": needs 160 MiB together, `, limit / 2},
		"stream":   {[]string{"x=cmd:head -c 256M /dev/zero"}, `cannot load dataset "x": needs more than [0-9,]+ (?:bytes|MiB), `, limit},
	} {
		t.Run(name, func(t *testing.T) {
			dir := cgrouptest.New(t, limit)
			var flags []string
			for _, d := range c.data {
				flags = append(flags, "-d", d)
			}
			f := start(t, spec{through: enter(dir), flags: flags, command: sleeper})
			f.exits(3)
			says := regexp.MustCompile(c.stderr + `but only (\S+ \S+) of memory can be used \(bound by the limit of cgroup (\S+),`)
			said := says.FindStringSubmatch(f.output())
			if said == nil {
				t.Fatalf("it said:\n%s\nwant %s", f.output(), says)
			}
			usable, err := humanize.ParseBytes(strings.Replace(said[1], "bytes", "B", 1))
			if err != nil || usable >= limit || usable < limit/2 || filepath.Base(said[2]) != filepath.Base(dir) {
				t.Errorf("%s of %s can be used, want a little less than %d bytes of %s", said[1], said[2], limit, dir)
			}
			if strings.Contains(f.output(), "worker started") {
				t.Error("a worker was started")
			}
			if n := oomKills(t, dir); n > 0 {
				t.Errorf("the kernel killed %d processes", n)
			}
			if peak := charge(t, dir); peak > c.peak {
				t.Errorf("%d bytes were charged at the peak, want at most %d", peak, c.peak)
			}
		})
	}
}

func TestDataWithinTheCgroupsLimitIsLoaded(t *testing.T) {
	asRoot(t)
	dir := cgrouptest.New(t, limit)
	f := start(t, spec{
		through: enter(dir), flags: []string{"-w", "2", "-d", "x=" + sparse(t, 64*mib), "--ready", "alive:10ms"}, command: sleeper,
	})
	f.untilReady(2)
	// The account of a cgroup is up to a second old, and the kernel adds up what its processors have charged in turn.
	group := f.until("the data in the cgroup's account", func(s *supervisor.Snapshot) bool {
		return value(s.Memory.Cgroup.Shmem) >= 64*mib
	}).Memory.Cgroup
	if value(group.Limit) != limit || value(group.Current) < 64*mib || value(group.Current) > limit {
		t.Errorf("cgroup: limit %v, current %v", value(group.Limit), value(group.Current))
	}
	f.stop()
	if n := oomKills(t, dir); n > 0 {
		t.Errorf("the kernel killed %d processes", n)
	}
}

// oomKills reads what version 1 and version 2 call differently.
func oomKills(t *testing.T, dir string) int64 {
	t.Helper()
	for _, file := range []string{"memory.oom_control", "memory.events"} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if n, ok := strings.CutPrefix(line, "oom_kill "); ok {
				return number(t, n)
			}
		}
	}
	t.Fatal("this cgroup does not tell whom the kernel killed")
	return 0
}

// charge is the largest amount that the cgroup held; the present one where the kernel does not keep it (version 2 before
// Linux 5.19).
func charge(t *testing.T, dir string) int64 {
	t.Helper()
	for _, file := range []string{"memory.max_usage_in_bytes", "memory.peak", "memory.current"} {
		if text, err := os.ReadFile(filepath.Join(dir, file)); err == nil {
			return number(t, string(text))
		}
	}
	t.Fatal("this cgroup does not tell its charge")
	return 0
}

func number(t *testing.T, text string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
