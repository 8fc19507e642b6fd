// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// This file replays the stories of testdata/*.txt. A line that is indented is what the fleet did, any other is a comment
// or what happened to it; `go test -run Stories -update` writes the indented lines anew.

var update = flag.Bool("update", false, "write testdata/*.txt anew")

func TestStoriesEndAsWritten(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got := tell(t, string(want))
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s (-written +happens):\n%s", path, diff)
			}
		})
	}
}

// story is a fleet under the observer, and the text so far.
type story struct {
	n    *node
	text strings.Builder
}

// tell runs the lines of a story and returns it with what happens now.
func tell(t *testing.T, script string) string {
	t.Helper()
	var st story
	for line := range strings.Lines(script) {
		if strings.HasPrefix(line, "  ") {
			continue
		}
		st.text.WriteString(line)
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if err := st.happens(strings.Fields(line)); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		fmt.Fprintf(&st.text, "  %v: %s\n", st.n.now.Round(time.Millisecond), st.n.s.Describe(st.n.now, time.Millisecond))
	}
	return st.text.String()
}

// happens carries out one line: "fleet" makes it, "+1s" lets time pass, anything else is an event.
func (st *story) happens(words []string) error {
	if words[0] == "fleet" {
		c := Config{
			Surge: 1, StartTimeout: time.Minute, StopTimeout: 25 * time.Second, QuickTimeout: 5 * time.Second, KillEvery: 5 * time.Second,
			BackoffMin: time.Second / 2, BackoffMax: 30 * time.Second, RespawnEvery: time.Second / 2, RespawnBurst: 10,
			GiveUpAfter: 5, RollFailures: 3,
		}
		err := c.set(words[1:])
		st.n = newNode(c)
		return err
	}
	if !strings.HasPrefix(words[0], "+") {
		ev, err := st.parseEvent(words)
		if err != nil {
			return err
		}
		return st.step(st.n.now, ev)
	}
	d, err := time.ParseDuration(words[0][1:])
	if err != nil {
		return err
	}
	end := st.n.now + d
	for st.n.s.Next() <= end {
		if err := st.step(st.n.s.Next(), Tick{}); err != nil {
			return err
		}
	}
	st.n = st.n.later(end)
	return nil
}

func (st *story) step(now Time, ev Event) error {
	next, err := st.n.step(now, ev)
	if err != nil {
		return err
	}
	st.n = next
	for _, a := range next.actions {
		fmt.Fprintf(&st.text, "  %v: %v\n", now.Round(time.Millisecond), a)
	}
	return nil
}

// set changes settings given as key=value.
func (c *Config) set(words []string) error {
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		n := map[string]*int{
			"workers": &c.Workers, "max-starting": &c.MaxStarting, "give-up-after": &c.GiveUpAfter, "surge": &c.Surge,
			"respawn-burst": &c.RespawnBurst,
		}[key]
		if n == nil {
			return fmt.Errorf("unknown setting %q", w)
		}
		if _, err := fmt.Sscan(value, n); err != nil {
			return err
		}
	}
	return nil
}

func (st *story) parseEvent(words []string) (Event, error) {
	var id ID
	switch words[0] {
	case "roll-out":
		return st.parseRollOut(words[1:])
	case "scale":
		n, err := strconv.Atoi(words[1])
		return Scale{n}, err
	}
	if len(words) > 1 {
		if _, err := fmt.Sscanf(words[1], "%d#%d", &id.Slot, &id.Incarnation); err != nil {
			return nil, err
		}
	}
	rest := strings.Join(words[min(2, len(words)):], " ")
	switch words[0] {
	case "boot":
		return Boot{}, nil
	case "spawned":
		return Spawned{id, 100*id.Incarnation + id.Slot}, nil
	case "spawn-failed":
		reason, permanent := strings.CutPrefix(rest, "permanently: ")
		return SpawnFailed{ID: id, Permanent: permanent, Reason: reason}, nil
	case "ready":
		return Ready{id}, nil
	case "exited":
		var e Exit
		if _, err := fmt.Sscanf(rest, "code %d", &e.Code); err == nil {
			return Exited{id, e}, nil
		}
		_, err := fmt.Sscanf(rest, "signal %d", &e.Signal)
		return Exited{id, e}, err
	case "replace":
		for _, r := range Reasons() {
			if r.String() == rest {
				return Replace{id, r}, nil
			}
		}
	case "tick":
		return Tick{}, nil
	case "stop":
		return Stop{}, nil
	case "quit":
		return Quit{}, nil
	case "kill":
		return Kill{}, nil
	}
	return nil, fmt.Errorf("unknown event")
}

// parseRollOut reads "reload workers=3 surge=0" (new rules) or "restart 1 2" (slots).
func (st *story) parseRollOut(words []string) (Event, error) {
	ev := RollOut{Reason: ReasonReload}
	if words[0] == "restart" {
		ev.Reason = ReasonRestart
	}
	var settings []string
	for _, w := range words[1:] {
		if i, err := strconv.Atoi(w); err == nil {
			ev.Slots = append(ev.Slots, i)
		} else {
			settings = append(settings, w)
		}
	}
	if len(settings) > 0 {
		c := st.n.s.Config
		ev.Config = &c
		return ev, c.set(settings)
	}
	return ev, nil
}
