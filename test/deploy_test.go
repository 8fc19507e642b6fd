// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: every name, label and value in the alerts, the dashboard and the examples of docs/metrics.md is one that a running
// fleet serves; each alert says what it means and what to do, and does what its tests say; the dashboard holds together.

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const (
	rules     = "../deploy/prometheus/alerts.yml"
	dashboard = "../deploy/grafana/preforkd.json"
)

type alert struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

func alerts(t *testing.T) (list []alert) {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string
			Rules []alert
		}
	}
	text, err := os.ReadFile(rules)
	if err == nil {
		err = yaml.Unmarshal(text, &file)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range file.Groups {
		list = append(list, group.Rules...)
	}
	if len(list) == 0 {
		t.Fatal("no alerts: the tests would prove nothing")
	}
	return list
}

// panel is what the tests look at of a panel.
type panel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ X, Y, W, H int }
	FieldConfig              struct{ Defaults struct{ Unit string } }
	Datasource               struct{ UID string }
	Targets                  []struct {
		RefID, Expr, LegendFormat string
		Datasource                struct{ UID string }
	}
}

type grafana struct {
	ID            *int
	SchemaVersion int
	Templating    struct {
		List []struct {
			Name, Type, Definition string
			Query                  any
		}
	}
	Annotations struct {
		List []struct{ Expr string }
	}
	Panels []panel
}

func readDashboard(t *testing.T) (d grafana) {
	t.Helper()
	text, err := os.ReadFile(dashboard)
	if err == nil {
		err = json.Unmarshal(text, &d)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// query is an expression and the texts that are filled in from its labels.
type query struct{ where, expr, texts string }

func queries(t *testing.T) (list []query) {
	t.Helper()
	for _, a := range alerts(t) {
		list = append(list, query{a.Alert, a.Expr, a.Annotations["summary"] + a.Annotations["description"]})
	}
	d := readDashboard(t)
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			list = append(list, query{"panel " + p.Title, target.Expr, target.LegendFormat})
		}
	}
	for _, a := range d.Annotations.List {
		if a.Expr != "" { // else it is Grafana's own
			list = append(list, query{"annotation", a.Expr, ""})
		}
	}
	for _, v := range d.Templating.List {
		list = append(list, query{"variable " + v.Name, v.Definition, ""})
	}
	page, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	// An expression goes on in lines that are indented further.
	for _, text := range regexp.MustCompile(`(?m)^    \S.*preforkd_.*\n(?:      .*\n)*`).FindAllString(string(page), -1) {
		list = append(list, query{"docs/metrics.md", strings.TrimSpace(text), ""})
	}
	return list
}

var (
	selector = regexp.MustCompile(`\b(preforkd_[a-z_]+)(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`([a-z_]+) *(=~|!~|!=|=) *"([^"]*)"`)
	grouping = regexp.MustCompile(`\b(by|on|ignoring|without|group_left|group_right) *\(([^)]*)\)`)
	filledIn = regexp.MustCompile(`\{\{ *(?:\$labels\.)?([a-z_]+) *\}\}`)
)

func TestEveryNameInDeployIsServed(t *testing.T) {
	there := served(t)
	scraper := []string{"instance", "job"} // Prometheus' own labels
	checked := 0
	for _, q := range queries(t) {
		labels := slices.Clone(scraper)
		for _, found := range selector.FindAllStringSubmatch(q.expr, -1) {
			family := found[1]
			checked++
			if there[family] == nil && !elsewhere(family) {
				t.Errorf("%s: no %s is served", q.where, family)
				continue
			}
			labels = append(labels, there.labels(family)...)
			for _, m := range matcher.FindAllStringSubmatch(found[2], -1) {
				label, operator, value := m[1], m[2], m[3]
				if slices.Contains(scraper, label) || elsewhere(family) {
					continue
				}
				values, ok := there[family][label]
				if !ok {
					t.Errorf("%s: %s has no label %s", q.where, family, label)
				}
				for one := range strings.SplitSeq(value, "|") {
					if operator[0] == '=' && !slices.Contains(values, one) {
						t.Errorf(`%s: no %s{%s="%s"} is served, only %q`, q.where, family, label, one, values)
					}
				}
			}
		}
		for _, found := range grouping.FindAllStringSubmatch(q.expr, -1) {
			for label := range strings.FieldsFuncSeq(found[2], func(r rune) bool { return r == ',' || r == ' ' }) {
				if !slices.Contains(labels, label) {
					t.Errorf("%s: %s (%s): no such label", q.where, found[1], label)
				}
			}
		}
		if by := regexp.MustCompile(`^\w+ by \(([^)]*)\)`).FindStringSubmatch(q.expr); by != nil {
			labels = strings.FieldsFunc(by[1], func(r rune) bool { return r == ',' || r == ' ' }) // what is left of them
		}
		for _, found := range filledIn.FindAllStringSubmatch(q.texts, -1) {
			if !slices.Contains(labels, found[1]) {
				t.Errorf("%s: {{ %s }}: the expression has only %v", q.where, found[1], labels)
			}
		}
	}
	if checked < 60 {
		t.Errorf("only %d names were checked", checked)
	}
	t.Logf("%d names checked against %d families", checked, len(there))
}

func TestEveryAlertSaysWhatToDo(t *testing.T) {
	page, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile("../deploy/prometheus/alerts_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, a := range alerts(t) {
		names = append(names, a.Alert)
		if a.Expr == "" || !slices.Contains([]string{"critical", "warning", "info"}, a.Labels["severity"]) {
			t.Errorf("%s: expr %q, severity %q", a.Alert, a.Expr, a.Labels["severity"])
		}
		for _, word := range []string{"summary", "description"} {
			if a.Annotations[word] == "" {
				t.Errorf("%s has no %s", a.Alert, word)
			}
		}
		if want := "https://github.com/preforkd/preforkd/blob/main/docs/metrics.md#" + strings.ToLower(a.Alert); a.Annotations["runbook_url"] != want {
			t.Errorf("%s: runbook_url %s, want %s", a.Alert, a.Annotations["runbook_url"], want)
		}
		if !strings.Contains(string(page), "\n### "+a.Alert+"\n") {
			t.Errorf("docs/metrics.md does not say what to do about %s", a.Alert)
		}
		if !regexp.MustCompile(`alertname: ` + a.Alert + `\n +exp_alerts:\n`).Match(tests) {
			t.Errorf("alerts_test.yml does not see %s fire", a.Alert)
		}
	}
	_, section, _ := strings.Cut(string(page), "\n## Alerts\n")
	for _, heading := range regexp.MustCompile(`(?m)^### (.+)$`).FindAllStringSubmatch(section, -1) {
		if !slices.Contains(names, heading[1]) {
			t.Errorf("docs/metrics.md tells about %s, which is no alert", heading[1])
		}
	}
}

// promtool runs Prometheus' own tool, of the system or that which hack/promtool.sh has put beside the tests' Python. Not everybody
// may install it, so its absence is no failure.
func promtool(t *testing.T, dir string, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		path, err = exec.LookPath(filepath.Join(os.Getenv("PREFORKD_TEST_VENV"), "bin", "promtool"))
	}
	if err != nil {
		t.Skip("needs promtool (hack/promtool.sh; Debian: prometheus)")
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestEveryQueryIsPromQL(t *testing.T) {
	type rule struct {
		Record string `yaml:"record"`
		Expr   string `yaml:"expr"`
	}
	var list []rule
	for i, q := range queries(t) {
		if !strings.HasPrefix(q.where, "variable") {
			expr := strings.NewReplacer("$__rate_interval", "1m", "$__interval", "1m").Replace(q.expr)
			list = append(list, rule{fmt.Sprintf("query%d", i), expr})
		}
	}
	text, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "queries", "rules": list}}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "rules.yml"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	promtool(t, dir, "check", "rules", "rules.yml")
}

func TestTheAlertsDoWhatTheirTestsSay(t *testing.T) {
	for _, args := range [][]string{
		{"check", "rules", "alerts.yml"},
		{"check", "config", "prometheus.yml"},
		{"test", "rules", "alerts_test.yml"},
	} {
		promtool(t, filepath.Dir(rules), args...)
	}
}

func TestTheDashboardHoldsTogether(t *testing.T) {
	d := readDashboard(t)
	if d.SchemaVersion < 39 || d.ID != nil {
		t.Errorf("schemaVersion %d, id %v: want 39 at least, and no id", d.SchemaVersion, d.ID)
	}
	var variables []string
	for _, v := range d.Templating.List {
		variables = append(variables, v.Name+" "+v.Type)
	}
	if !slices.Equal(variables, []string{"datasource datasource", "instance query"}) {
		t.Errorf("variables %q", variables)
	}
	ids, taken := map[int]string{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if other, twice := ids[p.ID]; twice || p.ID == 0 || p.Title == "" {
			t.Errorf("panel %d %q: its number is also %q's", p.ID, p.Title, other)
		}
		ids[p.ID] = p.Title
		if p.GridPos.X+p.GridPos.W > 24 || p.GridPos.W*p.GridPos.H == 0 {
			t.Errorf("panel %q at %+v", p.Title, p.GridPos)
		}
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				place := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if taken[place] != "" {
					t.Fatalf("panels %q and %q overlap", p.Title, taken[place])
				}
				taken[place] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Description == "" || p.FieldConfig.Defaults.Unit == "" || p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 {
			t.Errorf("panel %q: description %q, unit %q, datasource %q, %d queries", p.Title, p.Description,
				p.FieldConfig.Defaults.Unit, p.Datasource.UID, len(p.Targets))
		}
		letters := ""
		for _, target := range p.Targets {
			if strings.Contains(letters, target.RefID) || target.Datasource.UID != "${datasource}" {
				t.Errorf("panel %q: query %q of datasource %q", p.Title, target.RefID, target.Datasource.UID)
			}
			letters += target.RefID
			for _, found := range selector.FindAllStringSubmatch(target.Expr, -1) {
				if !strings.Contains(found[2], `instance="$instance"`) {
					t.Errorf("panel %q: %s is of every instance", p.Title, found[0])
				}
			}
		}
	}
}
