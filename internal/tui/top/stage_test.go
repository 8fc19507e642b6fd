// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package top

// A model that is fed messages, as bubbletea does, and a fake instance.

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/preforkd/preforkd/internal/api/apitest"
	"github.com/preforkd/preforkd/supervisor"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errGone = errors.New("cannot reach preforkd at /run/x/control.sock: connection refused")

// fake is an Instance.
type fake struct {
	mu     sync.Mutex
	view   *supervisor.Snapshot // nil: no answer
	orders []string
	answer func(progress func(supervisor.Operation)) (string, error)
}

func (f *fake) Stats(context.Context) (*supervisor.Snapshot, []byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.view == nil {
		return nil, nil, errGone
	}
	return f.view, nil, nil
}

func (f *fake) Restart(_ context.Context, ids []int, progress func(supervisor.Operation)) (string, error) {
	return f.take(fmt.Sprint("restart ", ids), progress)
}

func (f *fake) Reload(_ context.Context, names []string, progress func(supervisor.Operation)) (string, error) {
	return f.take(fmt.Sprint("reload ", names), progress)
}

func (f *fake) take(order string, progress func(supervisor.Operation)) (string, error) {
	f.mu.Lock()
	f.orders = append(f.orders, order)
	f.mu.Unlock()
	if f.answer == nil {
		return "1 worker replaced", nil
	}
	return f.answer(progress)
}

// stage is a model with its instance. The time is the test's.
type stage struct {
	*model
	t        *testing.T
	instance *fake
	at       time.Time
	sent     []tea.Msg
}

func open(t *testing.T, s *supervisor.Snapshot, columns, rows int, color bool) *stage {
	t.Helper()
	g := &stage{t: t, instance: &fake{view: s}, at: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)}
	g.model = newModel(t.Context(), Options{Instance: g.instance, Interval: time.Second, Color: color})
	g.send = func(msg tea.Msg) { g.sent = append(g.sent, msg) }
	g.Update(tea.WindowSizeMsg{Width: columns, Height: rows})
	g.tick()
	return g
}

// tick lets a second go by, and the look that it leads to.
func (g *stage) tick() {
	g.t.Helper()
	g.at = g.at.Add(time.Second)
	_, cmd := g.Update(tickMsg(g.at))
	if g.paused {
		return
	}
	g.Update(cmd())
}

// press types keys: letters, or names in angle brackets as <down>. It returns the last command.
func (g *stage) press(keys string) (cmd tea.Cmd) {
	for keys != "" {
		key := keys[:1]
		if keys[0] == '<' {
			key = keys[1:strings.IndexByte(keys, '>')]
			keys = keys[len(key)+1:]
		}
		keys = keys[1:]
		_, cmd = g.Update(pressed(key))
	}
	return cmd
}

func pressed(key string) tea.Msg {
	named := map[string]rune{
		"up": tea.KeyUp, "down": tea.KeyDown, "pgup": tea.KeyPgUp, "pgdown": tea.KeyPgDown, "home": tea.KeyHome, "end": tea.KeyEnd,
		"esc": tea.KeyEscape,
	}
	if code, ok := named[key]; ok {
		return tea.KeyPressMsg{Code: code}
	}
	if letter, ok := strings.CutPrefix(key, "ctrl+"); ok {
		return tea.KeyPressMsg{Code: rune(letter[0]), Mod: tea.ModCtrl}
	}
	return tea.KeyPressMsg{Code: rune(key[0]), Text: key}
}

// text is the screen without styles.
func (g *stage) text() string { return ansi.Strip(g.View().Content) }

func (g *stage) lines() []string { return strings.Split(g.text(), "\n") }

// line is the one that holds a text.
func (g *stage) line(text string) string {
	g.t.Helper()
	for _, l := range g.lines() {
		if strings.Contains(l, text) {
			return l
		}
	}
	g.t.Fatalf("no line with %q in\n%s", text, g.text())
	return ""
}

func (g *stage) has(text string) {
	g.t.Helper()
	if !strings.Contains(g.text(), text) {
		g.t.Errorf("no %q in\n%s", text, g.text())
	}
}

func (g *stage) lacks(text string) {
	g.t.Helper()
	if strings.Contains(g.text(), text) {
		g.t.Errorf("%q in\n%s", text, g.text())
	}
}

// ids are those of the rows that are shown, from top to bottom; the selected one too.
func (g *stage) ids() (ids []string, selected string) {
	for _, l := range g.lines() {
		fields := strings.Fields(strings.TrimPrefix(l, "▶"))
		if len(fields) > 3 && slices.Contains([]string{"ready", "starting", "stopping", "backoff"}, fields[2]) {
			ids = append(ids, fields[0])
			if strings.HasPrefix(l, "▶") {
				selected = fields[0]
			}
		}
	}
	return ids, selected
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := "testdata/" + name + ".txt"
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

// crowd is a fleet of n ready workers; those of odd numbers have served requests.
func crowd(n int) *supervisor.Snapshot {
	s := apitest.Example()
	one := s.Workers[0]
	s.Workers = nil
	for i := range n {
		w := one
		w.ID, w.PID, w.PIDs = i, new(5000+(i*37)%n), nil
		w.Private, w.RSS, w.PSS = new(int64(i+1)<<20), new(int64(n-i)<<24), new(int64(i+n)<<20)
		w.CPUSeconds, w.Uptime = new(float64(i)), new(float64(1000-i))
		if i%2 == 1 {
			w.Requests = new(int64(i))
		}
		s.Workers = append(s.Workers, w)
	}
	return s
}

// later is a snapshot some seconds on, in which worker i has used i hundredths of its time and served i requests a second.
func later(s *supervisor.Snapshot, seconds float64) *supervisor.Snapshot {
	next := *s
	next.Supervisor.Uptime += seconds
	next.Workers = slices.Clone(s.Workers)
	for i := range next.Workers {
		w := &next.Workers[i]
		if w.CPUSeconds != nil {
			w.CPUSeconds = new(*w.CPUSeconds + seconds*float64(w.ID)/100)
		}
		if w.Requests != nil {
			w.Requests = new(*w.Requests + int64(seconds)*int64(w.ID))
		}
	}
	return &next
}
