// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

const referencePage = "../../docs/flags.md"

func TestTheReferencePageIsTheOneOfTheTable(t *testing.T) {
	if *update {
		if err := os.WriteFile(referencePage, []byte(Reference()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile(referencePage)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(page), Reference()); diff != "" {
		t.Errorf("docs/flags.md (- file, + now; go test ./internal/config -update writes it anew):\n%s", diff)
	}
}

func TestHelpAndReferenceNameEveryFlag(t *testing.T) {
	help, reference := Help(), Reference()
	for _, opt := range table() {
		long := "--" + opt.spelling()
		if !strings.Contains(help, long) {
			t.Errorf("--help does not name %s", long)
		}
		if !strings.Contains(reference, strings.ReplaceAll(long, "|", `\|`)) {
			t.Errorf("the reference does not name %s", long)
		}
		if short := "-" + opt.short + ", --" + opt.name; opt.short != "" && (!strings.Contains(help, short) || !strings.Contains(reference, short)) {
			t.Errorf("%s is missing", short)
		}
		if !strings.Contains(strings.Join(strings.Fields(help), " "), strings.Join(strings.Fields(opt.help), " ")) {
			t.Errorf("--help has lost words of --%s", opt.name)
		}
	}
}

func TestHelpFitsIntoAHundredColumns(t *testing.T) {
	for line := range strings.Lines(Help()) {
		line = strings.TrimSuffix(line, "\n")
		if n := utf8.RuneCountInString(line); n > helpWidth || strings.TrimRight(line, " ") != line {
			t.Errorf("%d columns: %q", n, line)
		}
	}
}

// The default that the help names is the one that holds.
func TestHelpNamesTheDefaults(t *testing.T) {
	o := defaults()
	for name, value := range map[string]string{
		"accept": o.Accept, "ready": o.Ready, "start-timeout": "1m", "stop-timeout": "25s", "backoff-max": "30s", "stop-signal": "TERM",
		"surge": "1", "max-age": "off", "max-requests": "off", "max-private": "off", "watchdog": "off",
		"watch": "false", "huge-pages": o.HugePages, "lock-memory": "false", "stats": o.Stats, "stats-budget": "1%", "hide-args": "false", "log-format": o.LogFormat, "log-level": o.LogLevel, "log-workers": o.LogWorkers,
	} {
		for _, opt := range table() {
			if opt.name == name && !strings.HasSuffix(opt.help, "("+value+")") {
				t.Errorf("the help of --%s does not end with its default (%s): %s", name, value, opt.help)
			}
		}
	}
}

func TestFlagsStandOnceAndInGroups(t *testing.T) {
	names, shorts, groups := map[string]bool{"help": true}, map[string]bool{"h": true}, map[string]bool{}
	last := ""
	for _, opt := range table() {
		if names[opt.name] || opt.short != "" && shorts[opt.short] {
			t.Errorf("--%s or -%s stands twice", opt.name, opt.short)
		}
		names[opt.name], shorts[opt.short] = true, true
		if opt.group != last && groups[opt.group] {
			t.Errorf("the group %q stands twice", opt.group)
		}
		last, groups[opt.group] = opt.group, true
	}
}
