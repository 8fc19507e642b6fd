// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: what a running fleet serves at /metrics is clean to promlint at every moment of its life, is what Prometheus' own parser
// reads, in the format that a scraper asks for, and is what docs/metrics.md says: each family, its type, its labels.

import (
	"errors"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

func TestMetricsAreCleanAndAsDocumented(t *testing.T) {
	seen, types, scrapes := series{}, map[string]string{}, 0
	complaints := map[string]bool{}
	measuredLife(t, func(text string) {
		scrapes++
		seen.add(text)
		problems, err := promlint.New(strings.NewReader(text)).Lint()
		if err != nil {
			t.Errorf("promlint: %v", err)
		}
		for _, p := range problems {
			complaints[p.Metric+": "+p.Text] = true
		}
		for _, family := range families(t, expfmt.NewFormat(expfmt.TypeTextPlain), text) {
			types[family.GetName()] = strings.ToLower(family.GetType().String())
		}
	})
	for complaint := range complaints {
		t.Errorf("promlint: %s", complaint)
	}

	page, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| `(preforkd_[a-z_]+)` \\| (\\w+) \\| (.*?) \\|").FindAllStringSubmatch(string(page), -1)
	if len(rows) < 40 {
		t.Fatalf("docs/metrics.md has %d families", len(rows))
	}
	documented := map[string]bool{}
	for _, row := range rows {
		name, kind := row[1], row[2]
		documented[name] = true
		labels := strings.Fields(strings.Trim(strings.ReplaceAll(row[3], "`", ""), "–"))
		slices.Sort(labels)
		switch {
		case seen[name] == nil && !elsewhere(name):
			t.Errorf("%s was never served", name)
		case seen[name] != nil && (types[name] != kind || !slices.Equal(seen.labels(name), labels)):
			t.Errorf("%s is a %s by %q, docs/metrics.md says %s by %q", name, types[name], seen.labels(name), kind, labels)
		}
	}
	for name := range seen {
		if !documented[name] {
			t.Errorf("%s is served, but not documented", name)
		}
	}
	t.Logf("%d scrapes of %d families", scrapes, len(seen))
}

// families reads a scrape by Prometheus' own parser.
func families(t *testing.T, format expfmt.Format, text string) (list []*dto.MetricFamily) {
	t.Helper()
	decoder := expfmt.NewDecoder(strings.NewReader(text), format)
	for {
		family := new(dto.MetricFamily)
		if err := decoder.Decode(family); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatalf("%s: %v\n%s", format, err, text)
		}
		list = append(list, family)
	}
}

func TestAScraperGetsTheFormatThatItAsksFor(t *testing.T) {
	f := start(t, spec{flags: []string{"-w", "1", "--ready", "alive:10ms", "-d", "blob=" + sparse(t, mib)}, command: sleeper})
	f.untilExact(1)
	for accept, want := range map[string]string{
		"":    "text/plain; version=0.0.4;",
		"*/*": "text/plain; version=0.0.4;",
		"application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5": "application/openmetrics-text; version=1.0.0;",
	} {
		request, err := http.NewRequest(http.MethodGet, "http://localhost/metrics", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", accept)
		response, err := f.stats.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if got := response.Header.Get("Content-Type"); !strings.HasPrefix(got, want) {
			t.Errorf("Accept %q: Content-Type %q, want %s", accept, got, want)
		}
		if n := len(families(t, expfmt.ResponseFormat(response.Header), string(text))); n < 39 { // without the ratio: nothing is saved here
			t.Errorf("Accept %q: %d families", accept, n)
		}
	}
	f.stop()
}
