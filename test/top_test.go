// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: preforkd top on a real terminal shows what the stats say, sorts, restarts a worker, reloads, follows the size of the
// terminal, goes on when the instance comes back, and leaves the terminal as it was, however it ends; no other verb touches the
// terminal. And what preforkd report writes of a real fleet is what the stats say.

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/dustin/go-humanize"

	"github.com/preforkd/preforkd/supervisor"
)

// lively starts workers that give top something to show.
func lively(t *testing.T, workers int) *fleet {
	t.Helper()
	f := start(t, spec{
		flags:   []string{"-w", fmt.Sprint(workers), "--ready", "notify", "-d", "blob=" + sparse(t, 64*mib)},
		command: []string{python(t, nil), script(t, "live.py")},
	})
	f.untilExact(workers)
	return f
}

// gate shuts or opens what new workers of live.py wait for.
func (f *fleet) gate(shut bool) {
	f.t.Helper()
	path := filepath.Join(f.dir, "gate")
	err := os.WriteFile(path, nil, 0o644)
	if !shut {
		err = os.Remove(path)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

var workerRow = regexp.MustCompile(`(?m)^(▶| ) +(\d+) +(\d+|–)\S* +(ready|starting|stopping|backoff)`)

// shown are the ids of the workers on a screen from top to bottom, and the one that is selected.
func shown(screen string) (ids []string, selected string) {
	for _, row := range workerRow.FindAllStringSubmatch(screen, -1) {
		ids = append(ids, row[2])
		if row[1] == "▶" {
			selected = row[2]
		}
	}
	return ids, selected
}

// wrapped forgets what went on on the next line while the terminal became narrower: that was drawn for the wider one.
func (c *console) wrapped() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.screen.wrapped = 0
}

func (c *console) wrapsNothing() {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.screen.wrapped > 0 {
		c.t.Errorf("%d lines went on on the next one", c.screen.wrapped)
	}
}

func TestTopShowsSortsAndRestarts(t *testing.T) {
	f := lively(t, 3)
	c := f.onTerminal(80, 24, nil, "top", "--interval", "200ms")
	first := c.has("3 ready")
	snap, err := f.snapshot()
	if err != nil {
		t.Fatal(err)
	}
	saved := humanize.IBytes(uint64(*snap.Memory.Saved))
	for _, want := range []string{"Sharing saves " + saved, "blob  v1     64 MiB    64 MiB", "serving ?[31mshard 0?[0m", fmt.Sprintf("pid %d", f.pid)} {
		if !strings.Contains(first, want) {
			t.Errorf("no %q on\n%s", want, first)
		}
	}
	c.shows("rates of processor and requests", func(screen string) bool {
		return regexp.MustCompile(`(?m)^ +2 +\d+ ready .* \d+\.\d +\d+\.\d$`).MatchString(screen)
	})

	c.picture("80x24")

	// live.py has the more private memory the higher its number.
	for _, order := range []struct {
		key, mark string
		ids       []string
	}{
		{"v", "PRIVATE▼", []string{"2", "1", "0"}},
		{"v", "PRIVATE▲", []string{"0", "1", "2"}},
		{"m", "RSS▼", []string{"2", "1", "0"}},
		{"i", "ID▲", []string{"0", "1", "2"}},
		{"i", "ID▼", []string{"2", "1", "0"}},
	} {
		c.press(order.key)
		if ids, _ := shown(c.has(order.mark)); !slices.Equal(ids, order.ids) {
			t.Errorf("by %s: %v", order.mark, ids)
		}
	}
	c.press("\x1b[F") // End
	c.shows("the last one selected", func(screen string) bool { _, at := shown(screen); return at == "0" })
	c.press("\x1b[A") // up
	c.shows("the one above it selected", func(screen string) bool { _, at := shown(screen); return at == "1" })

	// Asked, refused, asked again; nothing stands still meanwhile.
	old := *ready(snap)[1].PID
	f.gate(true)
	c.press("r")
	c.has(fmt.Sprintf("Restart worker 1 (pid %d)?", old))
	c.press("n")
	c.shows("no question", func(screen string) bool { return !strings.Contains(screen, "Restart worker") })
	c.press("r")
	c.has("Restart worker 1")
	c.press("y")
	c.has("↻ restart of worker 1 rolling: 0 of 1 worker replaced")
	c.has("1 starting")
	c.picture("restart")
	c.press("v")
	c.has("PRIVATE▼")
	f.gate(false)
	c.has("✓ 1 worker replaced")
	now := f.settled(3)
	pid := *ready(now)[1].PID
	if pid == old || *ready(now)[0].PID != *ready(snap)[0].PID {
		t.Errorf("workers %v, then %v", mainPIDs(snap), mainPIDs(now))
	}
	screen := c.has(fmt.Sprint(pid))
	if _, at := shown(screen); at != "1" {
		t.Errorf("%q is selected on\n%s", at, screen)
	}
	c.has("worker 1, restart: killed by SIGTERM")

	// What it may not do it says, and the screen goes on.
	c.press("R")
	c.has("Reload: configuration, data and code anew")
	c.press("y")
	c.has("✓ 3 workers replaced; blob has not changed")

	c.press("p")
	c.has("PAUSED")
	c.press("p?")
	c.has("any key goes back")
	c.picture("help")
	c.press("?q")
	c.quits(0)
	c.wrapsNothing()
	f.stop()
}

func TestTopFollowsTheSizeOfTheTerminal(t *testing.T) {
	f := start(t, spec{flags: []string{"-w", "40", "--ready", "alive:10ms", "-d", "blob=" + sparse(t, mib)}, command: sleeper})
	f.untilReady(40)
	c := f.onTerminal(80, 24, nil, "top", "--interval", "200ms")
	c.has("40 ready")
	rows := func(n int) func(string) bool {
		return func(screen string) bool { ids, _ := shown(screen); return len(ids) == n }
	}
	few, _ := shown(c.text())
	if len(few) < 8 || len(few) > 14 {
		t.Errorf("%d rows at 80×24:\n%s", len(few), c.text())
	}
	c.press("\x1b[6~\x1b[6~\x1b[6~\x1b[6~\x1b[6~") // page down
	c.has("–40/40")
	c.size(200, 60)
	wide := c.shows("all rows", rows(40))
	c.picture("200x60")
	for _, name := range []string{"INC", "USS", "COW", "REQ/S", "AGE", "█ private ▒ share ░ RSS", "MiB"} {
		if !strings.Contains(wide, name) {
			t.Errorf("no %s on\n%s", name, wide)
		}
	}
	c.size(80, 24)
	narrow := c.shows("as many rows as before", rows(len(few)))
	c.wrapped()
	if _, at := shown(narrow); at != "39" {
		t.Errorf("%q is selected on\n%s", at, narrow)
	}
	c.size(40, 8)
	c.shows("what fits on 40×8", func(screen string) bool {
		return strings.Contains(screen, "ID") && !strings.Contains(screen, "PRIVATE") && rows(3)(screen)
	})
	c.wrapped()
	c.size(80, 24)
	c.shows("as many rows as before", rows(len(few)))
	c.press("v\x1b[H\x1b[6~?")
	c.has("any key goes back")
	c.press("?")
	c.has("PRIVATE▼")
	c.press("\x03")
	c.quits(0)
	c.wrapsNothing()
	f.stop()
}

var colourCode = regexp.MustCompile(`\x1b\[[0-9;]*\b(3|4|9|10)[0-9](;[0-9;]*)?m`)

func TestTopHasNoColoursWhenAskedToHaveNone(t *testing.T) {
	f := lively(t, 2)
	for name, c := range map[string]struct {
		env, words []string
		colours    bool
	}{
		"by default":       {nil, nil, true},
		"NO_COLOR=1":       {[]string{"NO_COLOR=1"}, nil, false},
		"NO_COLOR=yes":     {[]string{"NO_COLOR=yes", "COLORTERM=truecolor", "CLICOLOR_FORCE=1"}, nil, false},
		"--no-color":       {nil, []string{"--no-color"}, false},
		"--no-color=false": {[]string{"NO_COLOR=1"}, []string{"--no-color=false"}, true},
	} {
		o := f.onTerminal(120, 30, c.env, slices.Concat([]string{"top"}, c.words)...)
		o.has("2 ready")
		o.has("█▒")
		o.press("q")
		o.quits(0)
		if found := colourCode.FindString(o.output()); (found != "") != c.colours {
			t.Errorf("%s: colour %q", name, found)
		}
	}
	f.stop()
}

func TestTopWaitsForAnInstanceThatIsGone(t *testing.T) {
	f := lively(t, 2)
	c := f.onTerminal(80, 24, nil, "top", "--interval", "1m")
	c.has("2 ready")
	c.press("q")
	c.quits(0)

	c = f.onTerminal(80, 24, nil, "top", "--interval", "300ms")
	c.has("2 ready")
	f.kill()
	c.has("✗ No answer for ")
	if ids, _ := shown(c.text()); len(ids) != 2 {
		t.Errorf("what was seen last is gone:\n%s", c.text())
	}
	c.press("ry")
	c.has("✗ cannot reach preforkd at")
	next := start(t, spec{dir: f.dir, flags: []string{"-w", "3", "--ready", "alive:10ms"}, command: sleeper})
	c.shows("the next preforkd", func(screen string) bool {
		ids, _ := shown(screen)
		return strings.Contains(screen, fmt.Sprintf("pid %d", next.pid)) && len(ids) == 3 && !strings.Contains(screen, "No answer")
	})
	next.untilReady(3)
	c.press("q")
	c.quits(0)
	next.stop()
}

func TestTopRestoresTheTerminalAfterASignal(t *testing.T) {
	f := lively(t, 1)
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT} {
		c := f.onTerminal(80, 24, nil, "top")
		c.has("1 ready")
		if c.settings() == c.fresh {
			t.Error("the terminal is not raw: the test would prove nothing")
		}
		if err := c.cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		c.quits(0)
	}
	// The terminal itself goes away.
	c := f.onTerminal(80, 24, nil, "top")
	c.has("1 ready")
	c.ptmx.Close()
	<-c.ended
	f.stop()
}

func TestNoOtherVerbTouchesTheTerminal(t *testing.T) {
	f := lively(t, 1)
	for _, words := range [][]string{{"status"}, {"report"}, {"top", "--interval", "1h"}} {
		c := f.onTerminal(200, 60, nil, words...)
		<-c.ended
		c.shows("something", func(screen string) bool { return strings.TrimSpace(screen) != "" })
		if strings.Contains(c.output(), "\x1b") {
			t.Errorf("%q wrote %q", words, c.output())
		}
	}
	for _, c := range []struct {
		env  []string
		says string
	}{{[]string{"TERM=dumb"}, `TERM is "dumb"`}, {[]string{"TERM="}, `TERM is ""`}} {
		o := f.onTerminal(80, 24, c.env, "top")
		o.has("preforkd status")
		o.quits(2)
		if !strings.Contains(o.output(), c.says) || strings.Contains(o.output(), "\x1b") {
			t.Errorf("%v: %q", c.env, o.output())
		}
	}
	if stdout, stderr, code := f.verb("top"); code != 2 || stdout != "" || !strings.Contains(stderr, "preforkd status") {
		t.Errorf("without a terminal: exit code %d\n%s%s", code, stdout, stderr)
	}
	f.stop()
}

func TestAReportSaysWhatTheStatsSay(t *testing.T) {
	f := start(t, spec{
		flags:   []string{"-w", "3", "--ready", "notify", "-d", "blob=" + sparse(t, 64*mib)},
		command: []string{python(t, nil), script(t, "reader.py"), "secret-argument"},
	})
	f.untilExact(3)
	var object struct {
		Saving  struct{ Saved *int64 }
		Workers []struct {
			ID, PID int
			Share   *int64
			Exact   bool
		}
		Data []struct {
			Name     string
			Resident int64
		}
	}
	var snap *supervisor.Snapshot
	within(t, patience, "a report between two equal stats", func() bool {
		one, err := f.snapshot()
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(f.must("report", "--json")), &object); err != nil {
			t.Fatal(err)
		}
		if snap, err = f.snapshot(); err != nil {
			t.Fatal(err)
		}
		return *one.Memory.Saved == *snap.Memory.Saved && *one.Workers[2].Data[0].PSS == *snap.Workers[2].Data[0].PSS
	})
	if *object.Saving.Saved != *snap.Memory.Saved || len(object.Workers) != 3 || object.Data[0].Resident != *snap.Data[0].Resident {
		t.Errorf("%+v", object)
	}
	for i, w := range object.Workers {
		if w.PID != *snap.Workers[i].PID || *w.Share != *snap.Workers[i].Data[0].PSS-*snap.Workers[i].Data[0].COW || !w.Exact {
			t.Errorf("%+v, in the stats %+v", w, snap.Workers[i])
		}
	}
	text := f.must("report")
	for _, want := range []string{
		"**Sharing saves " + humanize.IBytes(uint64(*snap.Memory.Saved)), "3 workers and 64 MiB of data held once take ",
		fmt.Sprintf("| %d | ready ", *snap.Workers[0].PID), "| `blob`  |       1 | raw ",
		"3 of 3 workers counted page by page",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for _, secret := range []string{"secret-argument", "/sparse", f.dir} {
		if strings.Contains(text, secret) {
			t.Errorf("%s is named in\n%s", secret, text)
		}
	}
	f.stop()
}
