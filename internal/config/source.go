// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"strings"

	"github.com/preforkd/preforkd/internal/contract"
)

// source is what one of the three readers found: values in the order in which they were given.
type source struct {
	items   []item
	command []string
	at      place // of the command
}

// item is one value of an option, not yet checked.
type item struct {
	text string
	at   place
}

type kind int

const (
	inFlag kind = iota
	inVariable
	inFile
)

// place is where a value was given.
type place struct {
	kind         kind
	option       string
	file         string // inFile
	line, column int    // inFile, from 1, the column in bytes
	raw          string // inFile: the value as it stands there, if it is no string
}

// label names the option there: "--listen", "PREFORKD_OPT_LISTEN", "preforkd.toml:3:10: listen".
func (p place) label() string {
	switch p.kind {
	case inVariable:
		return variable(p.option)
	case inFile:
		return fmt.Sprintf("%s:%d:%d: %s", p.file, p.line, p.column, p.option)
	default:
		return "--" + p.option
	}
}

// with is label and the value.
func (p place) with(value string) string {
	const most = 100
	text := fmt.Sprintf("%q", value)
	if len(value) > most {
		text = fmt.Sprintf("%q…", value[:most])
	}
	if p.raw != "" {
		text = p.raw
	}
	return p.label() + map[kind]string{inFlag: " ", inVariable: "=", inFile: " = "}[p.kind] + text
}

func (p place) origin() string {
	switch p.kind {
	case inVariable:
		return variable(p.option)
	case inFile:
		return fmt.Sprintf("%s:%d", p.file, p.line)
	default:
		return "flag"
	}
}

// variable is the name of an option's variable.
func variable(option string) string {
	return contract.OptionPrefix + strings.ToUpper(strings.ReplaceAll(option, "-", "_"))
}

// apply sets what a source gives. Its lists replace those of the sources before it.
func (o *Options) apply(s source) (problems []error) {
	begun := map[string]bool{}
	for _, it := range s.items {
		opt, _ := find(it.at.option) // the readers have refused others
		v := opt.value(o)
		l, repeatable := v.(list)
		if !repeatable || !begun[opt.name] {
			o.places[opt.name] = nil
		}
		if repeatable && !begun[opt.name] {
			*l.field = nil
		}
		begun[opt.name] = true
		o.places[opt.name] = append(o.places[opt.name], it.at)
		if err := v.Set(it.text); err != nil {
			problems = append(problems, cannotUse(it, repeatable, err))
		}
	}
	if s.command != nil {
		o.Command, o.places["command"] = s.command, []place{s.at}
	}
	return problems
}

func cannotUse(it item, repeatable bool, err error) error {
	if repeatable { // its error quotes as much of the value as may be shown
		return fmt.Errorf("cannot use %s %v", it.at.label(), err)
	}
	return fmt.Errorf("cannot use %s: %v", it.at.with(it.text), err)
}

// given is the last value of an option in the first source that has it.
func given(option string, sources ...source) (found item) {
	for _, s := range sources {
		for _, it := range s.items {
			if it.at.option == option {
				found = it
			}
		}
		if found.at.option != "" {
			break
		}
	}
	return found
}

// nearest suggests what a misspelt name was meant to be, in the spelling of write: two slips at most, and most of the
// word right.
func nearest(name string, write func(option string) string) string {
	best, distance := "", 3
	for _, opt := range table() {
		if d := editDistance(name, opt.name); d < distance && 2*d < len(name) {
			best, distance = opt.name, d
		}
	}
	if best == "" {
		return ""
	}
	return " (did you mean " + write(best) + "?)"
}

// editDistance is Levenshtein's.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
