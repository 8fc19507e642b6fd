// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"strings"

	"github.com/preforkd/preforkd/internal/contract"
)

// readVariables finds the PREFORKD_OPT_… variables of an environment. The values of a list stand on lines of their own.
func readVariables(environ []string) (s source, problems []error) {
	options := map[string]option{}
	for _, opt := range table() {
		options[variable(opt.name)] = opt
	}
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		rest, ours := strings.CutPrefix(name, contract.OptionPrefix)
		if !ours {
			continue
		}
		opt, known := options[name]
		if !known {
			hint := nearest(strings.ToLower(strings.ReplaceAll(rest, "_", "-")), variable)
			problems = append(problems, fmt.Errorf("cannot use %s: there is no such option%s; preforkd --help lists them", name, hint))
			continue
		}
		at := place{kind: inVariable, option: opt.name}
		if value == "" {
			problems = append(problems, fmt.Errorf("cannot use %s: the value is empty; give %s, or unset it", at.with(""), opt.arg))
			continue
		}
		values := []string{value}
		if opt.repeatable() {
			values = strings.Split(strings.TrimSuffix(value, "\n"), "\n")
		}
		for _, text := range values {
			s.items = append(s.items, item{text, at})
		}
	}
	return s, problems
}
