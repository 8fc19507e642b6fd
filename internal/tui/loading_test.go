// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package tui

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/preforkd/preforkd/supervisor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// screen is a terminal that knows what mpb writes: lines, and the sequence that takes lines back.
type screen struct {
	mu    sync.Mutex
	raw   strings.Builder
	wrote chan struct{} // has room for one
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.wrote <- struct{}{}:
	default:
	}
	return s.raw.Write(p)
}

var takenBack = regexp.MustCompile(`^\x1b\[(\d+)A\x1b\[J`)

// lines are what can be seen at last.
func (s *screen) lines(t *testing.T) (lines []string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for rest := s.raw.String(); rest != ""; {
		if back := takenBack.FindStringSubmatch(rest); back != nil {
			n, err := strconv.Atoi(back[1])
			if err != nil || n > len(lines) {
				t.Fatalf("%s lines are taken back of %q", back[1], lines)
			}
			lines, rest = lines[:len(lines)-n], rest[len(back[0]):]
			continue
		}
		line, after, whole := strings.Cut(rest, "\n")
		if !whole || strings.Contains(line, "\x1b") {
			t.Fatalf("a line is torn: %q", line)
		}
		lines, rest = append(lines, strings.TrimRight(line, " ")), after
	}
	return lines
}

// drawn waits until something more has been drawn.
func (s *screen) drawn(t *testing.T) {
	t.Helper()
	select {
	case <-s.wrote: // of before
	default:
	}
	select {
	case <-s.wrote:
	case <-time.After(10 * time.Second):
		t.Fatal("nothing is drawn")
	}
}

func matches(t *testing.T, lines []string, want ...string) {
	t.Helper()
	if len(lines) != len(want) {
		t.Fatalf("%d lines, want %d:\n%s", len(lines), len(want), strings.Join(lines, "\n"))
	}
	for i, pattern := range want {
		if !regexp.MustCompile("^" + pattern + "$").MatchString(lines[i]) {
			t.Errorf("line %d is\n%s\nwant\n%s", i, lines[i], pattern)
		}
		if length(lines[i]) > 80 {
			t.Errorf("line %d has %d columns: %s", i, length(lines[i]), lines[i])
		}
	}
}

const (
	mib  = int64(1) << 20
	rate = `\d+(\.\d)? [KMGTP]?i?B/s`
	some = `\[=*>?-*\]`
)

func TestEachDatasetHasItsBar(t *testing.T) {
	s := &screen{wrote: make(chan struct{}, 1)}
	b := Loading(s, 80)
	b.Show()
	rows := []supervisor.Data{
		{Name: "emb", Size: new(400 * mib), SourceSize: new(400 * mib)},
		{Name: "zipped", SourceSize: new(100 * mib), Codec: "zstd"},
		{Name: "stream"},
		{Name: "small", Size: new(mib), SourceSize: new(mib)},
		{Name: "late", SourceSize: new(mib)},
		{Name: "told", SourceSize: new(2 * mib), Size: new(200 * mib), Codec: "xz"},
	}
	b.Update(rows)
	rows[0].Loaded, rows[0].Read = 100*mib, 100*mib
	rows[1].Loaded, rows[1].Read = 300*mib, 50*mib
	rows[2].Loaded, rows[2].Read = 7*mib, 7*mib
	rows[3].Loaded, rows[3].Read = mib, mib
	rows[5].Loaded, rows[5].Read = 50*mib, 2*mib
	b.Update(rows)
	s.drawn(t)
	s.drawn(t)
	matches(t, s.lines(t),
		`emb    `+some+` +100 MiB/400 MiB +`+rate+` +\d+m?\d*s left`,
		`zipped `+some+` +50 MiB/100 MiB zstd → 300 MiB +`+rate+` +\d+m?\d*s left`,
		`stream [-\\|/] +7\.0 MiB +`+rate,
		`small  \[=+\] +1\.0 MiB( +`+rate+`)? +done`,
		`told   `+some+` +xz → 50 MiB/200 MiB +`+rate+` +\d+m?\d*s left`)

	at := time.Now()
	for i := range rows {
		rows[i].LoadedAt, rows[i].Loaded, rows[i].Size = &at, 400*mib, new(400*mib)
	}
	b.Update(rows)
	b.Close()
	done := ` +\[=+\] +400 MiB( +` + rate + `)? +done`
	matches(t, s.lines(t), "emb"+done, "zipped"+done, "stream"+done, `small +\[=+\] +1\.0 MiB .*done`, "told"+done, "late"+done)
}

func TestABrokenLoadLeavesItsBarAsItWas(t *testing.T) {
	s := &screen{wrote: make(chan struct{}, 1)}
	b := Loading(s, 80)
	b.Show()
	b.Update([]supervisor.Data{{Name: "a", Loaded: mib, Read: mib, SourceSize: new(4 * mib)}})
	b.Close()
	b.Close()
	matches(t, s.lines(t), `a `+some+` +1\.0 MiB/4\.0 MiB .*not loaded`)
}

func TestBarsAreHiddenUntilTheyAreShown(t *testing.T) {
	s := &screen{wrote: make(chan struct{}, 1)}
	b := Loading(s, 80)
	log := b.Log()
	b.Update([]supervisor.Data{{Name: "a", Loaded: mib, Read: mib}})
	fmt.Fprint(log, "as it ")
	if s.raw.String() != "as it " {
		t.Errorf("it wrote %q", s.raw.String())
	}
	fmt.Fprint(log, "is\n")
	b.Close()
	b.Show()
	b.Update([]supervisor.Data{{Name: "a", Loaded: 2 * mib, Read: 2 * mib}})
	fmt.Fprint(log, "and ", "after\n")
	if s.raw.String() != "as it is\nand after\n" {
		t.Errorf("it wrote %q", s.raw.String())
	}
}

// Two sources write while bars are drawn: every line is whole, none is lost, each source's are in order, all are above.
func TestLogLinesStandAboveTheBars(t *testing.T) {
	s := &screen{wrote: make(chan struct{}, 1)}
	b := Loading(s, 80)
	b.Show()
	const lines = 300
	var writers sync.WaitGroup
	for _, name := range []string{"one", "two"} {
		log := b.Log()
		writers.Go(func() {
			var text strings.Builder
			for i := range lines {
				fmt.Fprintf(&text, "%s %d\n", name, i)
			}
			for piece := range slices.Chunk([]byte(text.String()+name+" without end"), 7) {
				if _, err := log.Write(piece); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range int64(100) {
		b.Update([]supervisor.Data{{Name: "a", Loaded: i, Read: i, SourceSize: new(int64(1000))}, {Name: "b", Loaded: i}})
	}
	writers.Wait()
	s.drawn(t)
	b.Close()
	fmt.Fprintln(s)
	next := map[string]int{}
	have := s.lines(t)
	for _, line := range have[:2*lines] {
		name, number, _ := strings.Cut(line, " ")
		if number != strconv.Itoa(next[name]) {
			t.Fatalf("%q, want %s %d", line, name, next[name])
		}
		next[name]++
	}
	matches(t, have[2*lines:], `a `+some+` +99 B/1000 B .*not loaded`, `b .*99 B .*not loaded`, "(one|two) without end(one|two) without end")
}

func TestALineWithoutEndIsNotHeldForEver(t *testing.T) {
	s := &screen{wrote: make(chan struct{}, 1)}
	b := Loading(s, 80)
	b.Show()
	log := b.Log()
	fmt.Fprint(log, strings.Repeat("x", maxHeld))
	fmt.Fprint(log, "x")
	fmt.Fprint(log, "x")
	s.drawn(t)
	b.Close()
	fmt.Fprintln(s)
	if lines := s.lines(t); len(lines) != 2 || len(lines[0]) != maxHeld+1 || lines[1] != "x" {
		t.Errorf("%d lines", len(lines))
	}
}

// broken is a terminal that has gone.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, fmt.Errorf("it is gone") }

func TestATerminalThatIsGoneHoldsNothingUp(t *testing.T) {
	b := Loading(broken{}, 80)
	b.Show()
	log := b.Log()
	for i := range int64(1000) {
		b.Update([]supervisor.Data{{Name: "a", Loaded: i + 1}})
		fmt.Fprintln(log, i)
	}
	b.Close()
}

func TestHostileNamesCannotControlTheTerminal(t *testing.T) {
	s := &screen{wrote: make(chan struct{}, 1)}
	b := Loading(s, 80)
	b.Show()
	b.Update([]supervisor.Data{{Name: "a\x1b]0;owned\x07\n", Loaded: 1, Read: 1, SourceSize: new(int64(2)), Codec: "\x1b[2J"}})
	b.Close()
	matches(t, s.lines(t), `a\?\]0;owned\?\? .*\?\[2J .*not loaded`)
}
