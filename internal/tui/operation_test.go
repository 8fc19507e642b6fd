// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package tui

import (
	"fmt"
	"strings"
	"testing"

	"github.com/preforkd/preforkd/internal/api/apitest"
	"github.com/preforkd/preforkd/supervisor"
)

func TestAnOperationIsOneSentence(t *testing.T) {
	for want, o := range map[string]supervisor.Operation{
		"loading":                          {Kind: "reload", Phase: "loading", Total: 8},
		"rolling: 2 of 8 workers replaced": {Kind: "reload", Phase: "rolling", Done: 2, Total: 8},
		"rolling: 0 of 1 worker replaced, 1 failed start in a row": {
			Kind: "restart", Phase: "rolling", Total: 1, FailedStarts: 1,
		},
		"rolling: 3 of 4 workers changed, 2 failed starts in a row, 1 more to come after it": {
			Kind: "scale", Phase: "rolling", Done: 3, Total: 4, FailedStarts: 2, Queued: 1,
		},
	} {
		if got := Operation(o); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestALongErrorKeepsItsFirstLineAndItsLast(t *testing.T) {
	s := apitest.Rich()
	lines := []string{"cannot replace worker 0; its last words:"}
	for i := range 200 {
		lines = append(lines, fmt.Sprintf("line %d", i))
	}
	s.Supervisor.LastReload.Error = strings.Join(lines, "\n") + "\n"
	text := render(t, s, Options{})
	for _, want := range []string{"61s: cannot replace", "  …\n  line 190\n", "  line 199\n"} {
		if !strings.Contains(strings.ReplaceAll(text, "1m01s", "61s"), want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "line 189\n") {
		t.Errorf("all of it is shown:\n%s", text)
	}
}

func TestProgressIsOneLineOnATerminalAndALineForEachStepElsewhere(t *testing.T) {
	steps := []string{"one", "one", "a\x1b[2Jb", "longer than the terminal"}
	for width, want := range map[int]string{
		0:  "one\na?[2Jb\nlonger than the terminal\n",
		10: "\r\x1b[Kone\r\x1b[Ka?[2Jb\r\x1b[Klonger th\r\x1b[K",
	} {
		var text strings.Builder
		p := NewProgress(&text, width)
		for _, step := range steps {
			p.Show(step)
		}
		p.End()
		p.End()
		if text.String() != want {
			t.Errorf("width %d: %q, want %q", width, text.String(), want)
		}
	}
}

func TestCleanKeepsLinesAndNothingElseThatControls(t *testing.T) {
	if got, want := Clean("a\tb\r\n\x1b[31mc\x07\n\n"), "a    b\n?[31mc?"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
