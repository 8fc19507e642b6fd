// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Package config turns a command line into what preforkd runs. One table (table.go) holds every flag: its name, value,
// default and help; the flag parser, --help and docs/flags.md are made from it.
//
// It looks up users and directories but opens, binds and starts nothing.
package config
