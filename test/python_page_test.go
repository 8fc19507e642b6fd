// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// The two tables of docs/servers.md. The first says what was proved, and a run that proves something else fails; the second
// is a record of the run that wrote it. PREFORKD_UPDATE=1 writes the rows of the servers that it runs into both.

import (
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/preforkd/preforkd/supervisor"
)

const serversPage = "../docs/servers.md"

// onThePage checks the server's row of the first table, or writes both rows.
func (s pythonServer) onThePage(t *testing.T, snap *supervisor.Snapshot, of phases) {
	t.Helper()
	words := s.command(t)
	command := strings.Join(words[slices.Index(words, "--")+1:], " ")
	cells := []string{s.title(t), "`" + command + "`", s.socket, s.waits, fmt.Sprint(s.tree), s.ends}
	record := []string{cells[0]}
	for _, p := range of {
		failed := len(p.fresh.failures) + len(p.kept.failures)
		cells = append(cells, fmt.Sprint(failed))
		record = append(record, fmt.Sprintf("%s + %s, %d", rounded(p.fresh.answered), rounded(p.kept.answered), p.again))
	}
	private := 0.0
	for _, w := range snap.Workers {
		private += value(w.Private) / mib / float64(len(snap.Workers))
	}
	record = append(record, fmt.Sprintf("%.1f s", of[1].took.Seconds()), fmt.Sprintf("%.0f MiB", private))

	text, err := os.ReadFile(serversPage)
	if err != nil {
		t.Fatal(err)
	}
	proved, page := "| "+strings.Join(cells, " | ")+" |\n", string(text)
	if os.Getenv("PREFORKD_UPDATE") == "" {
		if !strings.Contains(page, "\n"+proved) {
			t.Errorf("docs/servers.md does not say what was proved:\n%s"+
				"write it: cd test && PREFORKD_UPDATE=1 go test -run TestPythonServersLoseNothing .", proved)
		}
		return
	}
	if t.Failed() {
		return
	}
	page = withRow(t, page, "proved", proved)
	page = withRow(t, page, "recorded", "| "+strings.Join(record, " | ")+" |\n")
	if err := os.WriteFile(serversPage, []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
}

var versionNumber = regexp.MustCompile(`[0-9]+(\.[0-9]+)+`)

// withRow puts a row into the table between two markers, in the place of the one that begins as it does, whatever the versions.
func withRow(t *testing.T, page, table, row string) string {
	t.Helper()
	begin, rest, ok := strings.Cut(page, "<!-- "+table+" -->\n")
	lines, end, closed := strings.Cut(rest, "<!-- end -->")
	if !ok || !closed {
		t.Fatalf("docs/servers.md has no table %q", table)
	}
	named := func(line string) string {
		name, _, _ := strings.Cut(line[1:], "|")
		return versionNumber.ReplaceAllString(name, "")
	}
	rows := slices.Collect(strings.Lines(lines))
	at := slices.IndexFunc(rows, func(line string) bool { return named(line) == named(row) })
	if at < 0 {
		rows, at = append(rows, row), len(rows)
	}
	rows[at] = row
	return begin + "<!-- " + table + " -->\n" + strings.Join(rows, "") + "<!-- end -->" + end
}

// rounded has two figures that count.
func rounded(n int) string {
	if n < 100 {
		return fmt.Sprint(n)
	}
	unit := int(math.Pow10(int(math.Log10(float64(n))) - 1))
	return fmt.Sprint((n + unit/2) / unit * unit)
}
