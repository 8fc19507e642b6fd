// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package top

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"

	"github.com/preforkd/preforkd/internal/api/apitest"
	"github.com/preforkd/preforkd/supervisor"
)

// scenes are snapshots of every kind.
func scenes() map[string]*supervisor.Snapshot {
	return map[string]*supervisor.Snapshot{
		"example": apitest.Example(), "rich": apitest.Rich(), "loading": apitest.Loading(), "crowd": crowd(256), "empty": {Schema: 1}, "none": nil,
	}
}

func TestTheScreenLooksAsReviewed(t *testing.T) {
	for _, c := range []struct {
		scene         string
		columns, rows int
		keys          string
	}{
		{"example", 80, 24, ""},
		{"rich", 80, 24, "<down><down>"},
		{"rich", 160, 40, "v"},
		{"loading", 80, 24, ""},
		{"crowd", 80, 24, "<end>"},
		{"none", 80, 24, ""},
		{"example", 80, 24, "?"},
		{"example", 80, 24, "r"},
		{"example", 40, 10, ""},
	} {
		g := open(t, scenes()[c.scene], c.columns, c.rows, false)
		if c.scene == "crowd" {
			g.instance.view = later(g.instance.view, 1)
			g.tick()
		}
		g.press(c.keys)
		keys := strings.NewReplacer("<", "-", ">", "", "?", "-help").Replace(c.keys)
		golden(t, fmt.Sprintf("%s-%dx%d%s", c.scene, c.columns, c.rows, keys), g.text()+"\n")
	}
}

func TestNoLineIsTooLongAndNoneTooMany(t *testing.T) {
	failed := strings.Repeat("cannot reload: a very long line of words ", 8) + strings.Repeat("\nImportError: 名前", 12)
	states := map[string]func(*stage){
		"plain":    func(*stage) {},
		"sorted":   func(g *stage) { g.press("c<end>") },
		"asked":    func(g *stage) { g.press("r") },
		"help":     func(g *stage) { g.press("?") },
		"result":   func(g *stage) { g.order.end(doneMsg{err: fmt.Errorf("%s", failed)}) },
		"progress": func(g *stage) { g.press("R"); g.press("y") },
		"lost":     func(g *stage) { g.instance.view = nil; g.tick() },
		"paused":   func(g *stage) { g.press("p") },
	}
	widths, heights := []int{1, 7, 39, 80, 100, 132, 200}, []int{1, 2, 3, 5, 10, 16, 24, 40, 100}
	for name, s := range scenes() {
		for state, enter := range states {
			for _, w := range widths {
				for _, h := range heights {
					if name == "crowd" && (w%40 != 0 || h%8 != 0) {
						continue
					}
					g := open(t, s, w, h, w%2 == 0)
					enter(g)
					lines := strings.Split(g.View().Content, "\n")
					if len(lines) > h || state != "help" && h > 3 && len(lines) != h {
						t.Errorf("%s, %s: %d lines on a screen of %d×%d", name, state, len(lines), w, h)
					}
					for _, l := range lines {
						if n := ansi.StringWidth(l); n > w {
							t.Errorf("%s, %s: %d columns on a screen of %d×%d: %q", name, state, n, w, h, l)
						}
					}
				}
			}
		}
	}
}

func TestColumnsGoByTheirRankWhenItIsNarrow(t *testing.T) {
	g := open(t, apitest.Example(), 80, 24, false)
	head := g.line("STATUS")
	for _, name := range []string{"ID", "PID", "STATUS", "UP", "MEMORY", "RSS", "PSS", "PRIVATE", "CPU %"} {
		if !strings.Contains(head, name) {
			t.Errorf("at 80 columns %s is missing: %s", name, head)
		}
	}
	g.has("USS 23Mi") // told of the selected one instead
	g = open(t, apitest.Example(), 200, 60, false)
	head = g.line("STATUS")
	for _, c := range columns() {
		if !strings.Contains(head, c.name) {
			t.Errorf("at 200 columns %s is missing: %s", c.name, head)
		}
	}
	g.has("█ private ▒ share ░ RSS")
	g.has("1.0 GiB  539 MiB")
	g = open(t, apitest.Example(), 30, 24, false)
	if head = g.line("STATUS"); !strings.Contains(head, "ID") || !strings.Contains(head, "PID") || strings.Contains(head, "AGE") {
		t.Errorf("at 30 columns: %s", head)
	}
}

func TestWhatIsNotKnownIsADash(t *testing.T) {
	g := open(t, apitest.Rich(), 160, 40, false)
	if fields := strings.Fields(g.line("4131")); !slices.Equal(fields[3:], []string{"2", "1m38s", "–", "–", "–", "–", "–", "–", "–", "–"}) {
		t.Errorf("the row of the worker that cannot be measured: %q", fields)
	}
	if fields := strings.Fields(g.line("backoff ")); len(fields) < 4 || slices.ContainsFunc(fields[4:], func(s string) bool { return s != "–" }) {
		t.Errorf("the row without a process: %q", fields)
	}
	g.press("<end><up>")
	g.has("– is not known: /proc/4131/status: permission denied")
	unknown := apitest.Example()
	unknown.Memory.Saved, unknown.Memory.SavedRatio, unknown.Memory.Used = nil, nil, nil
	g = open(t, unknown, 80, 24, false)
	g.has("What sharing saves is not known")
	g.lacks("0 B used")
}

func TestAFigureThatWasKnownIsToldWithItsAge(t *testing.T) {
	s := apitest.Example()
	g := open(t, s, 80, 24, false)
	g.has("Sharing saves 1023 MiB (48.4 %)")
	g.instance.view = later(s, 6)
	g.instance.view.Memory.Saved = nil
	g.tick()
	g.has("What sharing saves is not known (1023 MiB 6s ago)")
}

func TestTextFromWorkersCannotControlTheTerminal(t *testing.T) {
	evil := "a\x1b]0;owned\x07\r\n\u202eb\xff\x1b[2J"
	s := apitest.Rich()
	s.Supervisor.Name, s.Supervisor.Version, s.Supervisor.LastReload.Error, s.Supervisor.State = evil, evil, evil, supervisor.State(evil)
	s.Supervisor.Operation.Kind, s.Supervisor.Operation.Phase, s.Data[0].Name, s.Data[0].Codec, s.Data[0].Format = evil, evil, evil, evil, &evil
	for i := range s.Workers {
		w := &s.Workers[i]
		w.StatusText, w.Sample.Error, w.Replacing, w.InPlace, w.Status = evil, evil, evil, []string{evil}, supervisor.Status(evil)
		w.LastExit = &supervisor.Exit{Signal: evil, Reason: evil, At: s.Supervisor.StartedAt}
	}
	s.Data = append(s.Data, supervisor.Data{Name: evil, Codec: evil})
	g := open(t, s, 160, 60, false)
	g.instance.answer = func(progress func(supervisor.Operation)) (string, error) {
		progress(supervisor.Operation{Phase: evil, Kind: evil})
		return "", fmt.Errorf("%s", evil)
	}
	for _, step := range []func(){func() {}, func() { g.press("r") }, func() { g.Update(g.press("y")()) }} {
		step()
		rest := regexp.MustCompile(`\x1b\[\d*m`).ReplaceAllString(g.View().Content, "")
		for _, r := range rest {
			if r != '\n' && unicode.IsControl(r) || r == '\u202e' || r == '\ufffd' {
				t.Fatalf("%q comes through:\n%q", r, rest)
			}
		}
	}
	for _, msg := range g.sent {
		g.Update(msg)
	}
	if strings.Contains(g.text(), "\x07") {
		t.Error("a step comes through")
	}
}

func TestColoursSayNothingThatMarksDoNot(t *testing.T) {
	colour := regexp.MustCompile(`\x1b\[(3|4|9|10)\d`)
	for name, s := range scenes() {
		plain, colored := open(t, s, 160, 40, false), open(t, s, 160, 40, true)
		if found := colour.FindString(plain.View().Content); found != "" {
			t.Errorf("%s: a colour without being wanted: %q", name, found)
		}
		if name == "rich" && !colour.MatchString(colored.View().Content) {
			t.Errorf("no colour in\n%q", colored.View().Content)
		}
		if diff := cmp.Diff(plain.text(), colored.text()); diff != "" {
			t.Errorf("%s: -plain +colored:\n%s", name, diff)
		}
	}
}
