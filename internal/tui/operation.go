// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package tui

// What is being changed, and what came of the last change.

import (
	"fmt"
	"strings"

	"github.com/preforkd/preforkd/supervisor"
)

// maxTail is how many of the last lines of an error are shown below its first: a worker's last words may be 8 KiB.
const maxTail = 10

// Operation says in one line how far an operation is: "rolling: 2 of 8 workers replaced, 1 failed start in a row".
func Operation(o supervisor.Operation) string {
	text := Line(o.Phase)
	if o.Phase != "loading" {
		verb := "replaced"
		if o.Kind == "scale" {
			verb = "changed"
		}
		text += fmt.Sprintf(": %d of %s %s", o.Done, Plural(o.Total, "worker"), verb)
	}
	if o.FailedStarts > 0 {
		text += fmt.Sprintf(", %s in a row", Plural(o.FailedStarts, "failed start"))
	}
	if o.Queued > 0 {
		text += fmt.Sprintf(", %d more to come after it", o.Queued)
	}
	return text
}

// Clean makes text of several lines safe to print: no control character but the ends of lines.
func Clean(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i := range lines {
		lines[i] = Line(strings.ReplaceAll(strings.TrimSuffix(lines[i], "\r"), "\t", "    "))
	}
	return strings.Join(lines, "\n")
}

func (p *page) operation(s *supervisor.Snapshot) {
	if o := s.Supervisor.Operation; o != nil {
		p.printf("%s for %s, %s\n", p.paint(bold, Line(o.Kind)), Duration(Now(s).Sub(o.StartedAt).Seconds()), Operation(*o))
	}
	r := s.Supervisor.LastReload
	if r == nil {
		return
	}
	outcome := Line(r.Result)
	if r.Result == supervisor.ReloadFailed {
		outcome = p.paint(red, outcome)
	}
	p.printf("last reload %s ago: %s after %s", Duration(Now(s).Sub(r.At).Seconds()), outcome, Duration(r.Took))
	if r.Error != "" {
		lines := strings.Split(Clean(r.Error), "\n")
		if len(lines) > maxTail+1 {
			lines = append([]string{lines[0], "…"}, lines[len(lines)-maxTail:]...)
		}
		p.printf(": %s", strings.Join(lines, "\n  "))
	}
	p.printf("\n")
}

// Plural writes a number of things: "1 worker", "2 workers".
func Plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
