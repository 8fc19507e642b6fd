// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"log/slog"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/lmittmann/tint"

	"github.com/preforkd/preforkd/internal/config"
	"github.com/preforkd/preforkd/internal/worklog"
	"github.com/preforkd/preforkd/supervisor"
)

// newLogger writes preforkd's own log lines to own, which leads to out: text for people on a terminal, JSON for machines
// elsewhere, a log file included.
func newLogger(o *config.Options, out *sink, own io.Writer) *slog.Logger {
	level := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}[o.LogLevel]
	terminal := out.terminal()
	if o.LogFormat == "json" || o.LogFormat == "auto" && !terminal {
		return slog.New(slog.NewJSONHandler(own, &slog.HandlerOptions{Level: level}))
	}
	return slog.New(tint.NewTextHandler(own, &tint.Options{
		Level: level, TimeFormat: time.TimeOnly + ".000", NoColor: !terminal || os.Getenv("NO_COLOR") != "", ReplaceAttr: visible,
	}))
}

// visible makes text of workers, files and servers harmless: tint 1.2 writes escape sequences as they are, and nothing behind a
// U+FFFD.
func visible(_ []string, a slog.Attr) slog.Attr {
	var text string
	switch value := a.Value.Any().(type) {
	case string:
		text = value
	case error:
		text = value.Error()
	default:
		return a
	}
	a.Value = slog.StringValue(strings.Map(func(r rune) rune {
		if r == utf8.RuneError || r != '\n' && r != '\t' && !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text))
	return a
}

// logWorkers leads what the workers write where --log-workers says: pass, byte for byte to stderr; prefix and json, as lines
// to out, standard output too. What it returns waits at the end for the last lines, up to patience.
func logWorkers(cfg *supervisor.Config, how string, out *sink, stderr io.Writer) (drain func(patience time.Duration) bool) {
	switch how {
	case "prefix", "json":
		log := worklog.New(out, worklog.Format(how), time.Now)
		cfg.Capture = log.Capture
		return log.Drain
	case "pass":
		cfg.WorkerLog = stderr
	}
	return func(time.Duration) bool { return true }
}
