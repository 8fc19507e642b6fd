// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Package docs holds the machine-readable part of the documentation, so that a running preforkd can hand it out. It
// reads no file and imports nothing of preforkd; what it holds is made from the Go types by the tests of internal/api.
package docs

import _ "embed"

//go:embed openapi.json
var openAPI []byte

// OpenAPI returns the description of every endpoint of preforkd, in JSON: what GET /openapi.json answers with. The
// caller must not change it.
func OpenAPI() []byte { return openAPI }
