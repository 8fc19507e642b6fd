// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

// The address at which everybody may look, as the options describe it.

import (
	"cmp"

	"github.com/preforkd/preforkd/internal/api"
	"github.com/preforkd/preforkd/internal/config"
)

// checkStats tells what is wrong with the address, or with the files that guard it.
func checkStats(options *config.Options) error {
	return cmp.Or(api.CheckAddress(options.Stats), guards(options).Check())
}

func listenStats(options *config.Options) (*api.Listener, error) {
	return api.ListenSecure(options.Stats, guards(options))
}

func guards(options *config.Options) api.Security {
	return api.Security{Cert: options.StatsCert, Key: options.StatsKey, Auth: options.StatsAuth}
}
