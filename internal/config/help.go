// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"strings"
)

// helpWidth is the column at which help breaks.
const helpWidth = 100

// Help is the text of --help for running a fleet, made from the table.
func Help() string {
	var b strings.Builder
	group := ""
	for _, opt := range table() {
		if opt.group != group {
			group = opt.group
			fmt.Fprintf(&b, "\n%s:\n", group)
		}
		short := "    "
		if opt.short != "" {
			short = "-" + opt.short + ", "
		}
		left := fmt.Sprintf("  %s--%s", short, opt.spelling())
		const indent = 34
		lines := wrap(opt.help, helpWidth-indent)
		if len(left) >= indent {
			fmt.Fprintln(&b, left)
			left = ""
		}
		for _, line := range lines {
			fmt.Fprintf(&b, "%-*s%s\n", indent, left, line)
			left = ""
		}
	}
	return b.String()
}

// Reference is docs/flags.md.
func Reference() string {
	var b strings.Builder
	b.WriteString("# Flags\n\nEach is also a variable and a key of a TOML file: see [configuration.md](configuration.md). ± may be " +
		"typed +-.\n\nMade from the table in `internal/config`; `go test ./internal/config -update` writes it anew.\n")
	group := ""
	for _, opt := range table() {
		if opt.group != group {
			group = opt.group
			fmt.Fprintf(&b, "\n## %s\n\n| flag | meaning (default) |\n|---|---|\n", group)
		}
		short := ""
		if opt.short != "" {
			short = "-" + opt.short + ", "
		}
		cells := strings.NewReplacer("|", "\\|")
		fmt.Fprintf(&b, "| `%s--%s` | %s |\n", short, cells.Replace(opt.spelling()), cells.Replace(opt.help))
	}
	return b.String()
}

// spelling is the long flag with its value: behind a space it would be the command's first word where none is needed.
func (opt option) spelling() string {
	if opt.is(boolean) {
		return opt.name + "[=" + opt.arg + "]"
	}
	return opt.name + " " + opt.arg
}

func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
