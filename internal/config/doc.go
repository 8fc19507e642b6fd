// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Package config turns flags, PREFORKD_OPT_… variables and a TOML file into what preforkd runs. One table (table.go) holds
// every option: its name, value, default and help; the three readers, --help and docs/flags.md are made from it, and all
// three set the same values, so that each has the same checks.
//
// It reads the file and looks up users and directories, but it binds and starts nothing, and it changes nothing.
package config
