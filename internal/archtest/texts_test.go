// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package archtest

// The texts around the code: links lead somewhere, every target of the Makefile explains itself.

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

var (
	link    = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.+?) *$`)
	fence   = regexp.MustCompile("(?ms)^ *```.*?^ *```")
	code    = regexp.MustCompile("`[^`\n]*`")
	target  = regexp.MustCompile(`(?m)^([a-z0-9]+):([^=\n].*|)$`)
	phony   = regexp.MustCompile(`(?m)^\.PHONY:(.*)$`)
)

func TestLinksLeadSomewhere(t *testing.T) {
	for _, f := range files(t, func(f file) bool { return strings.HasSuffix(f.path, ".md") }) {
		text := code.ReplaceAllString(fence.ReplaceAllString(f.text, ""), "")
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			name, anchor, _ := strings.Cut(m[1], "#")
			goal := f.path
			if name != "" {
				goal = path.Join(path.Dir(f.path), name)
			}
			content, err := os.ReadFile(filepath.Join(root, goal))
			if _, missing := os.Stat(filepath.Join(root, goal)); missing != nil {
				t.Errorf("%s links to %s, which does not exist", f.path, m[1])
			} else if anchor != "" && (err != nil || !slices.Contains(anchors(string(content)), anchor)) {
				t.Errorf("%s links to %s: there is no such heading", f.path, m[1])
			}
		}
	}
}

// anchors returns the names that GitHub gives to the headings of a text.
func anchors(text string) []string {
	var names []string
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		names = append(names, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, m[1]))
	}
	return names
}

func TestEveryMakeTargetHasHelp(t *testing.T) {
	text := files(t, func(f file) bool { return f.path == "Makefile" })[0].text
	declared := strings.Fields(phony.FindStringSubmatch(text)[1])
	var seen []string
	for _, m := range target.FindAllStringSubmatch(text, -1) {
		seen = append(seen, m[1])
		if !strings.Contains(m[2], "## ") {
			t.Errorf("make %s has no ## help", m[1])
		}
		if !slices.Contains(declared, m[1]) {
			t.Errorf("make %s is not declared .PHONY", m[1])
		}
	}
	for want := range strings.FieldsSeq("help build demo test race cover lint fmt fuzz bench e2e install clean") {
		if !slices.Contains(seen, want) {
			t.Errorf("make %s is promised and missing", want)
		}
	}
}
