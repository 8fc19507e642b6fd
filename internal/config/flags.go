// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"
)

// readFlags takes a command line apart. The error is ErrHelp or that of a flag that does not exist or has no value.
func readFlags(args []string) (source, error) {
	flags := pflag.NewFlagSet("preforkd", pflag.ContinueOnError)
	flags.SetInterspersed(false)
	flags.Usage = func() {}
	unused := defaults()
	for _, opt := range table() {
		flag := flags.VarPF(opt.value(unused), opt.name, opt.short, "")
		if opt.is(boolean) {
			flag.NoOptDefVal = "true"
		}
	}
	s := source{at: place{kind: inFlag, option: "command"}}
	err := flags.ParseAll(args, func(flag *pflag.Flag, text string) error {
		s.items = append(s.items, item{text, place{kind: inFlag, option: flag.Name}})
		return nil
	})
	if err != nil {
		return s, explain(err)
	}
	if words := flags.Args(); len(words) > 0 {
		s.command = words
	}
	return s, nil
}

// explain says what pflag found in the words of all other errors.
func explain(err error) error {
	var unknown *pflag.NotExistError
	var missing *pflag.ValueRequiredError
	switch {
	case errors.As(err, &unknown):
		name := "--" + unknown.GetSpecifiedName()
		if unknown.GetSpecifiedShortnames() != "" {
			name = "-" + unknown.GetSpecifiedName()
		}
		hint := nearest(unknown.GetSpecifiedName(), func(option string) string { return "--" + option })
		return fmt.Errorf("cannot use %s: there is no such flag%s; preforkd --help lists them", name, hint)
	case errors.As(err, &missing):
		return fmt.Errorf("cannot use --%s: its value is missing", missing.GetFlag().Name)
	case errors.Is(err, pflag.ErrHelp):
		return err
	}
	return fmt.Errorf("cannot read the command line: %v", err)
}
