// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

//go:build race

package fleet

// raceEnabled makes the explorer visit less: it is ten times slower then, and nothing here runs concurrently.
const raceEnabled = true
