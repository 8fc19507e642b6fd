// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

// preforkd scale: more or fewer workers for a running instance.

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/pflag"
)

const scaleHelp = `Has a running instance run N workers from now on. Returns when the new ones are ready, or those that are
too many are gone.
`

func scaleVerb() verb {
	return verb{words: " N", help: scaleHelp, prepare: func(*pflag.FlagSet) func([]string) (order, error) {
		return func(words []string) (order, error) {
			if len(words) != 1 {
				return nil, errors.New("give the number of workers, as in preforkd scale 4")
			}
			workers, err := strconv.Atoi(words[0])
			if err != nil || workers < 1 {
				return nil, fmt.Errorf("%q workers: give a number from 1", words[0])
			}
			return func(ctx context.Context, to *instance, show func(string)) (string, error) {
				return to.Scale(ctx, workers, steps(show))
			}, nil
		}
	}}
}
