// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

import (
	"os"
	"testing"
)

// Two parsers, gopsutil's of statm and ours of status, see the same resident memory.
func TestGopsutilAgreesWithTheStatus(t *testing.T) {
	c := start(t)
	c.do("anon 33554432")
	g := newGauge("/proc")
	u := g.usage(c.pid)
	if u.err != nil {
		t.Fatal(u.err)
	}
	m, err := openMember("/proc", c.pid, &textReader{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	checkNear(t, "rss", u.rss, m.now.rss(), 512<<10)
	if m.now.rssAnon < 32<<20 {
		t.Errorf("RssAnon = %d with 32 MiB taken", m.now.rssAnon)
	}
	threads, err := os.ReadDir(m.dir + "/task")
	if err != nil {
		t.Fatal(err)
	}
	fds, err := os.ReadDir(m.dir + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	checkNear(t, "threads", u.threads, int64(len(threads)), 2)
	checkNear(t, "fds", u.fds, int64(len(fds)), 0)
	if *u.cpu < 0 || *u.cpu > 600 {
		t.Errorf("cpu = %v seconds", *u.cpu)
	}
}

// HOST_PROC in the environment would lead gopsutil elsewhere.
func TestTheEnvironmentDoesNotMislead(t *testing.T) {
	t.Setenv("HOST_PROC", t.TempDir())
	if u := newGauge("/proc").usage(os.Getpid()); u.err != nil || u.rss == nil || *u.rss == 0 {
		t.Errorf("usage = %+v", u)
	}
}

func TestUsageOfAProcessThatEndedIsNil(t *testing.T) {
	c := start(t)
	c.end()
	u := newGauge("/proc").usage(c.pid)
	if u.err == nil || u.rss != nil || u.cpu != nil || u.threads != nil || u.fds != nil {
		t.Errorf("usage = %+v", u)
	}
}
