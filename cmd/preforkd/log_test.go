// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/lmittmann/tint"
)

func TestTextOfOthersIsHarmlessAndWhole(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(tint.NewTextHandler(&out, &tint.Options{NoColor: true, ReplaceAttr: visible}))
	log.Warn("a worker said", "error", errors.New("before \x1b[31mred \ufffd \xff after"), "source", "a\x1b]0;title\a.bin", "n", 3)
	if text := out.String(); strings.ContainsAny(text, "\x1b\a") || !strings.Contains(text, "before ?[31mred ? ? after") ||
		!strings.Contains(text, "a?]0;title?.bin") || !strings.Contains(text, "n=3") {
		t.Errorf("%q", text)
	}
}
