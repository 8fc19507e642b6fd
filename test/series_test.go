// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Every series that a fleet serves in a life: while it loads, runs, is reloaded, after a crash.

import (
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/preforkd/preforkd/supervisor"
)

// series are what has been served: by family and label the values. A family without labels is there with none.
type series map[string]map[string][]string

var (
	seriesLine  = regexp.MustCompile(`(?m)^([a-z_]+)(?:\{(.*)\})? \S+$`)
	labelOfLine = regexp.MustCompile(`([a-z_]+)="((?:[^"\\]|\\.)*)"`)
)

func (s series) add(text string) {
	for _, line := range seriesLine.FindAllStringSubmatch(text, -1) {
		if s[line[1]] == nil {
			s[line[1]] = map[string][]string{}
		}
		for _, label := range labelOfLine.FindAllStringSubmatch(line[2], -1) {
			if values := s[line[1]][label[1]]; !slices.Contains(values, label[2]) {
				s[line[1]][label[1]] = append(values, label[2])
			}
		}
	}
}

// measuredLife runs a fleet through a life and hands out each scrape.
func measuredLife(t *testing.T, look func(text string)) {
	t.Helper()
	dir := place(t)
	source := newFIFO(t, dir, "slow")
	f := start(t, spec{
		dir: dir, flags: []string{"-w", "2", "-l", "127.0.0.1:0", "-d", "blob=" + sparse(t, mib), "-d", "slow=cmd:cat slow"},
		command: []string{python(t, nil), script(t, "measured.py")},
	})
	scrape := func() {
		if status, text, err := f.ask("/metrics"); err == nil && status == 200 {
			look(string(text))
		}
	}
	source.send(mib)
	f.until("part of the data", func(s *supervisor.Snapshot) bool {
		return slices.ContainsFunc(s.Data, func(d supervisor.Data) bool { return d.Name == "slow" && d.Loaded > 0 })
	})
	scrape()
	source.file.Close()
	f.untilExact(2)
	scrape()

	// The operation is seen while it goes on.
	over := f.beside("restart")
	for done := false; !done; {
		select {
		case o := <-over:
			if done = true; o.code != 0 {
				t.Fatalf("restart: %+v", o)
			}
		default:
			scrape()
		}
	}
	f.must("reload", "blob")
	kill(t, mainPIDs(f.settled(2))[0])
	f.until("a crash", func(s *supervisor.Snapshot) bool {
		return s.Workers[0].LastExit != nil && s.Workers[0].LastExit.Reason == "crash"
	})
	f.untilExact(2)
	f.until("requests", func(s *supervisor.Snapshot) bool { return s.Workers[0].Requests != nil })
	scrape()
	f.signal(syscall.SIGTERM)
	f.exits(0)
}

// served collects the series of a life.
func served(t *testing.T) series {
	t.Helper()
	all := series{}
	measuredLife(t, all.add)
	if len(all) < 20 {
		t.Fatalf("only %d families: %v", len(all), all)
	}
	return all
}

// labels are the names of a family's labels, in order.
func (s series) labels(family string) (names []string) {
	for name := range s[family] {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// elsewhere tells of series that only some machines have: those of a memory cgroup, its limit above all.
func elsewhere(family string) bool { return strings.HasPrefix(family, "preforkd_cgroup_memory_") }
