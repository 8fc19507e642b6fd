// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: workers whose event loop computes for a third of a second at a time, and so reads late what it has accepted, are
// replaced without losing a request: they are asked to stop when they have read it.

import (
	"slices"
	"testing"
)

func TestReloadsOfBusyLoopsLoseNothing(t *testing.T) {
	servers := webservers()
	w := servers[slices.IndexFunc(servers, func(w webserver) bool { return w.name == "uvicorn" })]
	w.path = "/busy"
	f, l := w.start(t, 2)
	l.clients = 16
	stop := l.start(t)
	for range 3 {
		f.must("reload")
	}
	result := stop()
	t.Log(result)
	result.nothingLost(t)
}
