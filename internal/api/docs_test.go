// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// docs/stats.md and docs/metrics.md say what is served: every field, every family, and nothing else.

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/preforkd/preforkd/internal/api/apitest"
)

const (
	statsPage   = "../../docs/stats.md"
	metricsPage = "../../docs/metrics.md"
	controlPage = "../../docs/control.md"
)

// fields walks a type as encoding/json does and returns the path of every field: "workers[].data[].cow".
func fields(t reflect.Type, prefix string) (paths []string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t.Kind() == reflect.Slice:
		return fields(t.Elem(), prefix+"[]")
	case t.Kind() != reflect.Struct || t.PkgPath() == "time":
		return nil
	}
	for field := range t.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		path := strings.TrimPrefix(prefix+"."+name, ".")
		paths = append(append(paths, path), fields(field.Type, path)...)
	}
	return paths
}

func TestEveryFieldOfTheStatsIsOnItsPage(t *testing.T) {
	page, err := os.ReadFile(statsPage)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for prefix, typ := range documentedTypes() {
		want = append(want, fields(typ, prefix)...)
	}
	var got []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_0-9.\\[\\]]+)` \\|").FindAllStringSubmatch(string(page), -1) {
		got = append(got, row[1])
	}
	for _, path := range want {
		switch n := count(got, path); {
		case n == 0:
			t.Errorf("%s does not tell about `%s`", statsPage, path)
		case n > 1:
			t.Errorf("%s tells %d times about `%s`", statsPage, n, path)
		}
	}
	for _, path := range got {
		if !slices.Contains(want, path) {
			t.Errorf("%s tells about `%s`, which is not served", statsPage, path)
		}
	}
}

func count(list []string, wanted string) (n int) {
	for _, s := range list {
		if s == wanted {
			n++
		}
	}
	return n
}

func TestTheExampleOnTheStatsPageIsWhatIsServed(t *testing.T) {
	text, err := json.MarshalIndent(apitest.Example(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	generated(t, statsPage, "example", "```json\n"+string(text)+"\n```\n")
}

func TestTheMetricsPageIsMadeFromTheCode(t *testing.T) {
	var b strings.Builder
	for _, section := range []struct {
		title   string
		metrics []metric
	}{{"The fleet", fleetMetrics()}, {"Memory and data", memoryMetrics()}, {"Workers", workerMetrics()}, {"Measuring", samplerMetrics()}} {
		fmt.Fprintf(&b, "## %s\n\n| name | type | labels | meaning |\n|---|---|---|---|\n", section.title)
		for _, m := range section.metrics {
			kind, labels := "gauge", "–"
			if m.kind == prometheus.CounterValue {
				kind = "counter"
			}
			if len(m.labels) > 0 {
				labels = "`" + strings.Join(m.labels, "` `") + "`"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.name, kind, labels, m.help)
		}
		b.WriteString("\n")
	}
	generated(t, metricsPage, "families", b.String())
}

func TestEveryOrderIsOnItsPageAndNothingElse(t *testing.T) {
	page, err := os.ReadFile(controlPage)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, r := range orders(apitest.NewSource(nil), &apitest.Control{}) {
		body, rest, _ := strings.Cut(r.doc, ";")
		if rest != "" {
			rest = ";" + rest
		}
		want = append(want, fmt.Sprintf("| `%s %s` | `%s`%s |", r.method, r.path, body, rest))
	}
	got := regexp.MustCompile("(?m)^\\| `POST .*$").FindAllString(string(page), -1)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-served +page):\n%s", controlPage, diff)
	}
}

// generated compares what stands between two marks of a page with text, or puts text there with -update.
func generated(t *testing.T, page, mark, text string) {
	t.Helper()
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- "+mark+": made by go test ./internal/api -update -->\n", "<!-- end of "+mark+" -->\n"
	head, rest, ok := strings.Cut(string(content), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no marks %q and %q", page, begin, end)
	}
	golden(t, page, head+begin+"\n"+text+"\n"+end+tail)
}
