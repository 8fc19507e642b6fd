// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Package contract says what a worker may rely on: which descriptor is what, which variables it finds, what the
// placeholders of its command line become. docs/worker-contract.md is the same for people.
//
// Descriptors 0-2 are the standard ones; the listening sockets follow from 3 in --listen order, then the datasets in
// --data order, the same numbers in every worker and for every version. Everything else is closed.
//
// The package is pure: it opens nothing, starts nothing and reads no environment. The exec stage (internal/process)
// calls it inside the child, the only place where the worker's pid and the path that works there are known.
package contract
