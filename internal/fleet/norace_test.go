// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

//go:build !race

package fleet

// raceEnabled is explained in race_test.go.
const raceEnabled = false
