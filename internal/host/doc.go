// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Package host tells what this machine and this container are: memory and its limits, process trees, kernel features.
// It reads /proc and /sys and changes nothing.
package host
