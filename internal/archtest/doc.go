// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Package archtest holds the repository to its own rules: who may import whom, what every file begins with, how long it
// may be, that links lead somewhere. It has tests only; they read the tree as it lies on disk and change nothing. The
// linter checks some of this as well (.golangci.yml); here it is part of the plain test run.
package archtest
