// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package config

// Options of datasets. Their values may be secrets: errors name NAME.KEY and no more.

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/preforkd/preforkd/internal/dataset"
)

var dataOptionForm = regexp.MustCompile(`^([a-z][a-z0-9_-]*)\.([a-z][a-z0-9-]*)=`)

// checkDataOption looks at the form alone: what is allowed depends on the dataset's source.
func checkDataOption(text string) error {
	if !dataOptionForm.MatchString(text) { // then no part of it is surely no secret
		return errors.New("as it is given: write NAME.KEY=VALUE, as in emb.codec=none")
	}
	return nil
}

// dataOptions are those of one dataset, as KEY=VALUE.
func (o *Options) dataOptions(name string) (all []string) {
	for _, text := range o.DataOptions {
		if rest, ok := strings.CutPrefix(text, name+"."); ok {
			all = append(all, rest)
		}
	}
	return all
}

// checkDataOptions has each option tried on its dataset, for an error that tells where it was given. All values are of
// good form.
func (o *Options) checkDataOptions() (problems []error) {
	specs := map[string]*dataset.Spec{}
	var names []string
	for _, text := range o.Data {
		if spec, err := dataset.ParseSpec(text); err == nil {
			specs[spec.Name] = &spec
			names = append(names, spec.Name)
		}
	}
	for i, text := range o.DataOptions {
		name, option, _ := strings.Cut(text, ".")
		key, _, _ := strings.Cut(option, "=")
		var err error
		switch spec := specs[name]; {
		case spec != nil:
			err = dataset.ParseOption(spec, option)
		case len(names) == 0:
			err = errors.New("there are no datasets: add --data")
		default:
			err = fmt.Errorf("no dataset is called %q; datasets: %s", name, strings.Join(names, ", "))
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("cannot use %s %s.%s: %v", o.places["data-opt"][i].label(), name, key, err))
		}
	}
	return problems
}
