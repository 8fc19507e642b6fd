// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

// preforkd reload: new configuration, data and code for a running instance.

import (
	"context"

	"github.com/spf13/pflag"

	"github.com/preforkd/preforkd/internal/tui"
	"github.com/preforkd/preforkd/supervisor"
)

const reloadHelp = `Has a running instance read its configuration again, load what changed, and replace every worker: the new
one is ready before the old one is told to stop. Returns when the last old worker is gone. When it fails, the
old workers and the old data serve on.

With names, only those datasets are looked at, and workers are replaced only when one of them has changed.
`

func reloadVerb() verb {
	return verb{words: " [NAME...]", help: reloadHelp, prepare: func(*pflag.FlagSet) func([]string) (order, error) {
		return func(names []string) (order, error) {
			return func(ctx context.Context, to *instance, show func(string)) (string, error) {
				return to.Reload(ctx, names, steps(show))
			}, nil
		}
	}}
}

// steps shows operations in words.
func steps(show func(string)) func(supervisor.Operation) {
	return func(o supervisor.Operation) { show(tui.Operation(o)) }
}
