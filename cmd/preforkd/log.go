// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/lmittmann/tint"
	"golang.org/x/term"

	"github.com/preforkd/preforkd/internal/config"
)

// newLogger writes preforkd's own log lines to own, which leads to stderr: text for people on a terminal, JSON for machines
// elsewhere.
func newLogger(o *config.Options, stderr, own io.Writer) *slog.Logger {
	level := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}[o.LogLevel]
	terminal := false
	if file, ok := stderr.(*os.File); ok {
		terminal = term.IsTerminal(int(file.Fd()))
	}
	if o.LogFormat == "json" || o.LogFormat == "auto" && !terminal {
		return slog.New(slog.NewJSONHandler(own, &slog.HandlerOptions{Level: level}))
	}
	return slog.New(tint.NewTextHandler(own, &tint.Options{
		Level: level, TimeFormat: time.TimeOnly + ".000", NoColor: !terminal || os.Getenv("NO_COLOR") != "",
	}))
}
