// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

//go:build race

package process

// A process of the race detector takes ten times as long to start.
const killRounds = 15
