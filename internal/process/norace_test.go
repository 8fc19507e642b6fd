// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

//go:build !race

package process

// killRounds is how often a supervisor is killed while it starts workers.
const killRounds = 50
