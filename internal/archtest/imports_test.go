// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package archtest

// Who may import whom. Dependencies run downward:
//
//	cmd → config, api, tui → supervisor → process, ready, dataset, memstat, handover, watch →
//	fleet, contract, rundir, listen, recycle, worklog, codec, format → host, shm, docs
//
// Packages of one level do not know each other. Tests are freer: these rules read what a program is linked with.

import (
	"slices"
	"strings"
	"testing"
)

// levels from the bottom up. A package counts to the level of the longest entry that it lies in.
var levels = [][]string{
	{"internal/host", "shm", "docs"},
	{
		"internal/fleet", "internal/contract", "internal/rundir", "internal/listen", "internal/recycle", "internal/worklog",
		"internal/codec", "internal/format",
	},
	{"internal/process", "internal/ready", "internal/dataset", "internal/memstat", "internal/handover", "internal/watch"},
	{"supervisor"},
	{"internal/config", "internal/api", "internal/tui"},
	{"cmd", "bench"},
}

// place returns the room that a package lies in and the room's level, or -1.
func place(pkg string) (room string, level int) {
	level = -1
	for i, rooms := range levels {
		for _, r := range rooms {
			if (pkg == r || strings.HasPrefix(pkg, r+"/")) && len(r) > len(room) {
				room, level = r, i
			}
		}
	}
	return room, level
}

const supervisorLevel = 3

func TestDependenciesRunDownward(t *testing.T) {
	for _, p := range packages(t) {
		if p.helper() {
			continue
		}
		room, level := place(p.room())
		if level < 0 {
			t.Errorf("%s lies on no level: give it one here and in .golangci.yml", p.room())
			continue
		}
		for _, imported := range p.Imports {
			if !strings.HasPrefix(imported, module+"/") {
				continue
			}
			below, lower := place(strings.TrimPrefix(imported, module+"/"))
			if below != room && lower >= level {
				t.Errorf("%s imports %s, which is not below it", p.room(), below)
			}
		}
	}
}

func TestFleetKnowsNoWorld(t *testing.T) {
	allowed := []string{"fmt", "math", "slices", "time"}
	for _, p := range packages(t) {
		if room, _ := place(p.room()); room != "internal/fleet" {
			continue
		}
		for _, imported := range p.Imports {
			if !slices.Contains(allowed, imported) {
				t.Errorf("%s imports %s: only %v keep it a pure function", p.room(), imported, allowed)
			}
		}
	}
}

// What a server may say is one room's business: retries, redirects, secrets.
func TestOneRoomAtOrBelowTheSupervisorKnowsHTTP(t *testing.T) {
	for _, p := range packages(t) {
		_, level := place(p.room())
		if p.helper() || level > supervisorLevel || p.room() == "internal/dataset/remote" {
			continue
		}
		if slices.Contains(p.Imports, "net/http") {
			t.Errorf("%s imports net/http; only internal/dataset/remote may", p.room())
		}
	}
}

// os/exec waits in goroutines of its own and knows nothing of our reaper; internal/process starts everything.
func TestNobodyImportsOSExec(t *testing.T) {
	for _, p := range packages(t) {
		if !p.helper() && slices.Contains(p.Imports, "os/exec") {
			t.Errorf("%s imports os/exec", p.room())
		}
	}
}

// Its traps (kB beside bytes, maps without addresses) are known in one place. The bench only takes its time.
func TestOneFileImportsGopsutil(t *testing.T) {
	var importers []string
	for _, f := range goFiles(t) {
		if f.test() {
			continue
		}
		for _, spec := range f.parse(t).Imports {
			if strings.HasPrefix(spec.Path.Value, `"github.com/shirou/gopsutil`) && !slices.Contains(importers, f.path) {
				importers = append(importers, f.path)
			}
		}
	}
	if want := []string{"bench/benchtest/stats_read.go", "internal/memstat/gopsutil.go"}; !slices.Equal(importers, want) {
		t.Errorf("gopsutil is imported by %v, want %v", importers, want)
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for _, p := range packages(t) {
		if p.Doc == "" {
			t.Errorf("%s has no package comment", p.room())
		}
	}
}
