// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package tui

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/preforkd/preforkd/internal/api/apitest"
	"github.com/preforkd/preforkd/supervisor"
)

// reported are the states of a fleet of which a report has to be true.
func reported() map[string]*supervisor.Snapshot {
	alone := apitest.Example()
	alone.Workers = alone.Workers[:1]
	m := &alone.Memory
	m.RSS, m.PSS, m.USS, m.Private = alone.Workers[0].RSS, alone.Workers[0].PSS, alone.Workers[0].USS, alone.Workers[0].Private
	m.Mapped, m.COW, m.Saved, m.SavedFull, m.SavedRatio = new(m.Data), new(int64(0)), new(int64(0)), new(int64(0)), new(0.0)
	m.Used, m.Copies = new(m.Data+40*mib), new(1.0)
	m.WithoutSharing = m.Used

	negative := apitest.Example()
	for i := range negative.Workers {
		negative.Workers[i].Data[0] = supervisor.WorkerData{Name: "emb", Version: 1, RSS: new(int64(0)), PSS: new(int64(0)), COW: new(int64(0))}
	}
	m = &negative.Memory
	m.Saved, m.Mapped, m.WithoutSharing, m.SavedRatio = new(-m.Data), new(int64(0)), new(*m.Used-m.Data), new(-13.5)

	bare := apitest.Example()
	bare.Data, bare.Memory.Data, bare.Memory.Used = nil, 0, new(67*mib)
	bare.Memory.Saved, bare.Memory.SavedRatio, bare.Memory.WithoutSharing = new(int64(0)), nil, new(67*mib)
	bare.Memory.Counterfactual = "nothing is compared: there is no dataset."
	for i := range bare.Workers {
		bare.Workers[i].Data = nil
	}

	direct := apitest.Example()
	direct.Data[0].Direct, direct.Data[0].Huge = true, nil
	direct.Memory.Data, direct.Memory.Saved = 0, new(int64(0))

	return map[string]*supervisor.Snapshot{
		"example": apitest.Example(), "rich": apitest.Rich(), "loading": apitest.Loading(), "empty": {Schema: 1}, "sources": sources(),
		"alone": alone, "negative": negative, "bare": bare, "direct": direct,
	}
}

// A report is read by people who have never seen /stats.
func TestTheTextOfAReportHasNoFieldNames(t *testing.T) {
	fields := regexp.MustCompile(`[a-z]+_[a-z]+|saved:|Saved:`)
	for name, s := range reported() {
		var text strings.Builder
		if err := Report(&text, s); err != nil {
			t.Fatal(err)
		}
		told := regexp.MustCompile("`[^`]*`").ReplaceAllString(text.String(), "") // what the kernel or a user said
		if found := fields.FindString(told); found != "" {
			t.Errorf("%s: %q in\n%s", name, found, text.String())
		}
	}
}

func TestReportsReadAsReviewed(t *testing.T) {
	for name, s := range reported() {
		t.Run(name, func(t *testing.T) {
			var text, object strings.Builder
			if err := Report(&text, s); err != nil {
				t.Fatal(err)
			}
			if err := ReportJSON(&object, s); err != nil {
				t.Fatal(err)
			}
			golden(t, "testdata/report-"+name+".md", text.String())
			golden(t, "testdata/report-"+name+".json", object.String())
			wellFormed(t, text.String())
			for line := range strings.Lines(text.String()) {
				if strings.Contains(line, "/proc") && !strings.Contains(line, "`") || strings.Contains(line, "emb.npy") {
					t.Errorf("a file is named: %s", line)
				}
			}
		})
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update rewrites it):\n%s", path, diff)
	}
}

var (
	unescaped = regexp.MustCompile(`(^|[^\\])\|`)
	delimiter = regexp.MustCompile(`^\|( -{3,}[: ]\|| -{2,}-:\|)+$`)
)

// wellFormed checks each table by GitHub's rules: an empty line in front, a delimiter row, and as many cells in each row.
func wellFormed(t *testing.T, text string) {
	t.Helper()
	lines := strings.Split(text, "\n")
	tables := 0
	for i := 0; i < len(lines); i++ {
		if !strings.HasPrefix(lines[i], "|") {
			continue
		}
		tables++
		if i > 0 && lines[i-1] != "" {
			t.Errorf("no empty line before %s", lines[i])
		}
		if !delimiter.MatchString(lines[i+1]) {
			t.Errorf("no delimiter row: %s", lines[i+1])
		}
		for n := len(unescaped.FindAllString(lines[i], -1)); i < len(lines) && lines[i] != ""; i++ {
			if got := len(unescaped.FindAllString(lines[i], -1)); got != n || !strings.HasSuffix(lines[i], "|") {
				t.Errorf("%d bars, want %d: %s", got, n, lines[i])
			}
		}
	}
	if want := strings.Count(text, "| worker ") + strings.Count(text, "| dataset"); tables < min(want, 1) {
		t.Errorf("%d tables in\n%s", tables, text)
	}
}

func TestTextFromOutsideCannotForgeAReport(t *testing.T) {
	s := apitest.Rich()
	evil := "a|b`c``d\n| <script>*x*</script> [l](http://e) @all #1 \x1b[31m\u202e"
	s.Supervisor.Name, s.Supervisor.Version, s.Supervisor.State, s.Memory.Counterfactual = evil, evil, supervisor.State(evil), evil
	s.Data[0].Name, s.Data[0].Format, s.Data[0].Codec = evil, &evil, evil
	s.Workers[0].Status, s.Workers[0].Sample.Error, s.Supervisor.Operation.Kind = supervisor.Status(evil), evil, evil
	s.Memory.Saved = new(5 * mib)
	var text strings.Builder
	if err := Report(&text, s); err != nil {
		t.Fatal(err)
	}
	wellFormed(t, text.String())
	// What is left when code spans are taken away holds no mark that means something.
	rest := regexp.MustCompile("(?s)```? .*? ```?").ReplaceAllString(text.String(), "")
	for _, mark := range []string{"<script", "*x", "[l]", "\x1b", "\u202e"} {
		if found := strings.Index(rest, mark); found > 0 && rest[found-1] != '\\' {
			t.Errorf("%q comes through in\n%s", mark, text.String())
		}
	}
}

func TestEveryFieldOfTheReportIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/report.md")
	if err != nil {
		t.Fatal(err)
	}
	var object any
	text, err := os.ReadFile("testdata/report-rich.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &object); err != nil {
		t.Fatal(err)
	}
	var names []string
	paths("", object, &names)
	if len(names) < 50 {
		t.Fatalf("only %d fields are found", len(names))
	}
	for _, name := range names {
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("docs/report.md does not tell of %s", name)
		}
	}
}

// paths collects the names of the fields: workers[].rss.
func paths(prefix string, value any, names *[]string) {
	switch v := value.(type) {
	case map[string]any:
		for name, inner := range v {
			path := strings.TrimPrefix(prefix+"."+name, ".")
			if !slices.Contains(*names, path) {
				*names = append(*names, path)
			}
			if name != "operation" { // as in /stats
				paths(path, inner, names)
			}
		}
	case []any:
		for _, inner := range v {
			paths(prefix+"[]", inner, names)
		}
	}
}
