// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

import "runtime/debug"

// version is set by the linker: make build passes -X main.version.
var version string

// buildVersion is the release, or what the Go tool knows of a build without one.
func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
