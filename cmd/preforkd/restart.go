// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

// preforkd restart: fresh workers for a running instance.

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/pflag"
)

const restartHelp = `Has a running instance replace the workers of these slots, without an ID of all: the new one is ready
before the old one is told to stop. Configuration and data stay as they are. Returns when the last old worker
is gone. When it fails, those not replaced yet serve on.
`

func restartVerb() verb {
	return verb{words: " [ID...]", help: restartHelp, prepare: func(*pflag.FlagSet) func([]string) (order, error) {
		return func(words []string) (order, error) {
			var ids []int
			for _, word := range words {
				id, err := strconv.Atoi(word)
				if err != nil || id < 0 {
					return nil, fmt.Errorf("%q is no worker: give ids as preforkd status shows them, from 0", word)
				}
				ids = append(ids, id)
			}
			return func(ctx context.Context, to *instance, show func(string)) (string, error) {
				return to.Restart(ctx, ids, steps(show))
			}, nil
		}
	}}
}
