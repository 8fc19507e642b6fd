// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Package tui shows a snapshot to people on a terminal.
//
// It promises plain text that fits 80 columns where the values do, and a dash with its reason below for a value that
// could not be read. It never measures, asks the clock or talks to a supervisor: what it shows is the snapshot's, and
// text that comes from outside (worker status, file names) cannot carry control characters to the terminal.
package tui
