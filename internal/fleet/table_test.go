// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"os"
	"strings"
	"testing"
)

// The table that people read is the one that the code makes.
func TestTheTableInArchitectureIsTheCodes(t *testing.T) {
	const page, begin, end = "../../ARCHITECTURE.md", "<!-- fleet.Table -->\n", "<!-- /fleet.Table -->"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	table, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no place for the table between %q and %q", page, begin, end)
	}
	want := "\n" + strings.TrimSpace(Table()) + "\n\n"
	if table == want {
		return
	}
	if !*update {
		t.Fatalf("the table in %s is not what fleet.Table makes; run go test ./internal/fleet -update", page)
	}
	if err := os.WriteFile(page, []byte(before+begin+want+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
