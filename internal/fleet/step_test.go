// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// This file says, phase by phase, what one event does. The words are those of the stories in testdata.

type stepCase struct {
	promise string
	given   string // a story after "fleet", lines separated by commas
	event   string
	actions string
	then    string // State.Describe, waits rounded to 100 ms
}

func (c stepCase) run(t *testing.T, fleet string) {
	t.Run(strings.ReplaceAll(c.promise, " ", "_"), func(t *testing.T) {
		var st story
		for line := range strings.SplitSeq(fleet+","+c.given, ",") {
			if line = strings.TrimSpace(line); line == "" {
				continue
			}
			if err := st.happens(strings.Fields(line)); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
		}
		ev, err := st.parseEvent(strings.Fields(c.event))
		if err != nil {
			t.Fatal(err)
		}
		next, err := st.n.step(st.n.now, ev)
		if err != nil {
			t.Fatal(err)
		}
		if got := list(next.actions); got != c.actions {
			t.Errorf("actions %q, want %q", got, c.actions)
		}
		if got := next.s.Describe(next.now, 100*time.Millisecond); got != c.then {
			t.Errorf("then %q, want %q", got, c.then)
		}
	})
}

func TestBeforeBoot(t *testing.T) {
	for _, c := range []stepCase{
		{
			"boot starts the slots in order", "", "boot", "spawn 0#1, spawn 1#1",
			"starting; 0#1 spawning, stop in 1m0s; 1#1 spawning, stop in 1m0s; 2 waits for a place",
		},
		{"stop finishes at once", "", "stop", "finish: done", "stopped; 0 empty; 1 empty; 2 empty"},
		{"quit finishes at once", "", "quit", "finish: done", "stopped; 0 empty; 1 empty; 2 empty"},
		{"kill finishes at once", "", "kill", "finish: done", "stopped; 0 empty; 1 empty; 2 empty"},
		{"boot after a stop is too late", "stop", "boot", "–", "stopped; 0 empty; 1 empty; 2 empty"},
	} {
		c.run(t, "fleet workers=3 max-starting=2")
	}
}

func TestStartingWorkers(t *testing.T) {
	for _, c := range []stepCase{
		{"a second boot starts nothing", "boot", "boot", "–", "starting; 0#1 spawning, stop in 1m0s; 1 waits for a place"},
		{
			"ready makes room for the next slot", "boot, spawned 0#1", "ready 0#1", "spawn 1#1",
			"running; 0#1 ready; 1#1 spawning, stop in 1m0s",
		},
		{
			"a failed start makes room for the next slot", "boot", "spawn-failed 0#1 no memory", "spawn 1#1",
			"starting (1 failed in a row); 0 backoff, start in 500ms; 1#1 spawning, stop in 1m0s",
		},
		{
			"ready before spawned counts at spawned", "boot, ready 0#1", "spawned 0#1", "spawn 1#1",
			"running; 0#1 ready; 1#1 spawning, stop in 1m0s",
		},
		{
			"an end without spawned is a failed start", "boot", "exited 0#1 code 1", "spawn 1#1",
			"starting (1 failed in a row); 0 backoff, start in 500ms; 1#1 spawning, stop in 1m0s",
		},
		{
			"the second spawned is ignored", "boot, spawned 0#1", "spawned 0#1", "–",
			"starting; 0#1 starting, stop in 1m0s; 1 waits for a place",
		},
		{
			"spawn-failed after spawned is ignored", "boot, spawned 0#1", "spawn-failed 0#1 permanently: x", "–",
			"starting; 0#1 starting, stop in 1m0s; 1 waits for a place",
		},
		{
			"ready of another incarnation is ignored", "boot, spawned 0#1", "ready 0#2", "–",
			"starting; 0#1 starting, stop in 1m0s; 1 waits for a place",
		},
		{
			"a permanent failure ends a fleet that was never ready", "boot", "spawn-failed 0#1 permanently: exec ./nope: no such file",
			"finish: failed (cannot start): cannot start worker 0: exec ./nope: no such file", "stopped; 0 empty; 1 empty",
		},
		{
			"stop waits for spawned to ask", "boot", "stop", "–",
			"stopping; 0#1 stopping (stop) before it was spawned, kill in 25s; 1 empty",
		},
		{
			"kill does not wait for spawned", "boot", "kill", "kill 0#1",
			"stopping; 0#1 stopping (stop) before it was spawned, kill again in 5s; 1 empty",
		},
		{
			"a start timeout makes room for the next slot", "boot, spawned 0#1, +1m", "tick", "–",
			"starting; 0#1 stopping (start-timeout), kill in 25s; 1#1 spawning, stop in 1m0s",
		},
	} {
		c.run(t, "fleet workers=2 max-starting=1")
	}
}

func TestReadyWorkers(t *testing.T) {
	for _, c := range []stepCase{
		{"a crash restarts at once", "+10s", "exited 0#1 signal 11", "spawn 0#2", "running; 0#2 spawning, stop in 1m0s"},
		{"code 0 restarts at once", "+10s", "exited 0#1 code 0", "spawn 0#2", "running; 0#2 spawning, stop in 1m0s"},
		{"a crash right after the start waits", "+200ms", "exited 0#1 code 1", "–", "running; 0 backoff, start in 300ms"},
		{"a second ready is ignored", "", "ready 0#1", "–", "running; 0#1 ready"},
		{"the doubled exit is ignored", "+10s, exited 0#1 code 1", "exited 0#1 code 1", "–", "running; 0#2 spawning, stop in 1m0s"},
		{
			"a permanent failure is one of many", "+10s, exited 0#1 code 1", "spawn-failed 0#2 permanently: x", "–",
			"running (1 failed in a row); 0 backoff, start in 500ms",
		},
		{"stop asks", "", "stop", "stop 0#1", "stopping; 0#1 stopping (stop), kill in 25s"},
		{"stop drops a slot that waits", "exited 0#1 code 1", "stop", "finish: done", "stopped; 0 empty"},
		{"quit asks for less long", "", "quit", "stop 0#1", "stopping; 0#1 stopping (stop), kill in 5s"},
		{"kill does not ask", "", "kill", "kill 0#1", "stopping; 0#1 stopping (stop), kill again in 5s"},
	} {
		c.run(t, "fleet workers=1 max-starting=1 respawn-burst=0, boot, spawned 0#1, ready 0#1")
	}
}

func TestReplacement(t *testing.T) {
	for _, c := range []stepCase{
		{
			"only a ready worker is replaced", "exited 0#1 code 1", "replace 0#2 max-age", "–",
			"running; 0#2 spawning, stop in 1m0s; 1#1 ready",
		},
		{
			"a watchdog outdoes an age", "replace 0#1 max-age", "replace 0#1 watchdog", "–",
			"running; 0#1 ready, to be replaced (watchdog); 0#2 spawning, stop in 1m0s; 1#1 ready",
		},
		{
			"a first reason stands", "replace 0#1 max-age", "replace 0#1 max-requests", "–",
			"running; 0#1 ready, to be replaced (max-age); 0#2 spawning, stop in 1m0s; 1#1 ready",
		},
		{
			"a roll takes over what a limit wants", "replace 1#1 max-age, spawned 1#2", "roll-out reload", "stop 1#2",
			"running (reload to epoch 2, 0 of 2); 0#1 ready, to be replaced (reload); 1#1 ready, to be replaced (reload); " +
				"1#2 stopping (reload), kill in 25s",
		},
		{"a roll of no slot is done at once", "", "roll-out restart 7", "roll: done, epoch 2", "running; 0#1 ready; 1#1 ready"},
		{
			"the end of the old one does not shorten the wait after a failed start",
			"roll-out restart 0, spawned 0#2, ready 0#2, exited 0#2 code 1, exited 0#3 code 1", "exited 0#1 code 0", "roll: done, epoch 2",
			"running; 0 backoff, start in 500ms; 1#1 ready",
		},
		{
			"a crash does not wait for the failed start beside it", "replace 0#1 max-age, exited 0#2 code 1", "exited 0#1 code 1",
			"spawn 0#3", "running; 0#3 spawning, stop in 1m0s; 1#1 ready",
		},
		{
			"a failed roll makes what starts beside a ready worker go", "roll-out reload surge=2, spawned 1#2",
			"spawn-failed 0#2 permanently: x", "stop 1#2, roll: failed, epoch 1: the new worker 0 could not be started: x",
			"running; 0#1 ready; 1#1 ready; 1#2 stopping (reload), kill in 25s",
		},
		{
			"more slots wait behind one that waits already", "+1h, roll-out reload max-starting=1, exited 1#1 code 1, scale 3",
			"spawn-failed 0#2 no memory", "spawn 1#2",
			"running (reload to epoch 2, 0 of 3); 0#1 ready, to be replaced (reload); 0 backoff, start in 500ms; " +
				"1#2 spawning, stop in 1m0s; 2 waits for a place",
		},
	} {
		c.run(t, "fleet workers=2 max-starting=2, boot, spawned 0#1, ready 0#1, spawned 1#1, ready 1#1")
	}
}

func TestReplacementsDoNotLengthenTheWaitAfterACrash(t *testing.T) {
	var st story
	lines := []string{"fleet workers=1 max-starting=1 respawn-burst=1", "boot", "spawned 0#1", "ready 0#1"}
	for i := 1; i < 20; i++ {
		lines = append(lines, fmt.Sprintf("replace 0#%d max-age", i), fmt.Sprintf("spawned 0#%d", i+1),
			fmt.Sprintf("ready 0#%d", i+1), fmt.Sprintf("exited 0#%d code 0", i))
	}
	for _, line := range append(lines, "exited 0#20 code 1") {
		if err := st.happens(strings.Fields(line)); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := st.n.s.Due(0), time.Second/2; got != want {
		t.Errorf("after 19 replacements and a crash the slot is due in %v, want %v", got, want)
	}
}

func TestAFleetThatGivesUpInARollSaysWhyToBoth(t *testing.T) {
	const why = "cannot get any worker ready: 1 starts in a row failed; worker 0, the last, exited with code 1"
	stepCase{
		"give up", "boot, spawned 0#1, ready 0#1, roll-out reload, exited 0#1 code 0", "exited 0#2 code 1",
		"roll: failed, epoch 1: " + why + ", finish: failed (never ready): " + why, "stopped; 0 empty",
	}.run(t, "fleet workers=1 max-starting=1 surge=0 give-up-after=1")
}

func TestStoppingFleet(t *testing.T) {
	for _, c := range []stepCase{
		{"the last end finishes", "stop", "exited 0#1 code 0", "finish: done", "stopped; 0 empty"},
		{"a second stop changes nothing", "stop, +5s", "stop", "–", "stopping; 0#1 stopping (stop), kill in 20s"},
		{"quit hurries a stop without asking twice", "stop, +5s", "quit", "–", "stopping; 0#1 stopping (stop), kill in 5s"},
		{"quit never lengthens a stop", "stop, +24s", "quit", "–", "stopping; 0#1 stopping (stop), kill in 1s"},
		{"stop never lengthens a quit", "quit, +1s", "stop", "–", "stopping; 0#1 stopping (stop), kill in 4s"},
		{"a second quit kills", "quit", "quit", "kill 0#1", "stopping; 0#1 stopping (stop), kill again in 5s"},
		{"a second kill changes nothing", "kill, +1s", "kill", "–", "stopping; 0#1 stopping (stop), kill again in 4s"},
		{"ready while stopping changes nothing", "stop", "ready 0#1", "–", "stopping; 0#1 stopping (stop), kill in 25s"},
		{
			"KILL means that the stop timed out", "stop, +26s", "tick", "–",
			"stopping; 0#1 stopping (stop-timeout), kill again in 4s",
		},
		{"the end is the end", "stop, exited 0#1 code 0", "quit", "–", "stopped; 0 empty"},
	} {
		c.run(t, "fleet workers=1 max-starting=1, boot, spawned 0#1, ready 0#1")
	}
}

func TestAnExitKeepsItsReasonAndIsCounted(t *testing.T) {
	for _, c := range []struct {
		given string
		exit  Exit
		want  Reason
	}{
		{"spawned 0#1, ready 0#1, exited 0#1 code 0", Exit{}, ReasonCrash},
		{"spawned 0#1, exited 0#1 signal 9", Exit{Signal: 9}, ReasonCrash},
		{"spawn-failed 0#1 no memory", Exit{}, ReasonSpawnFailed},
		{"spawned 0#1, +1m, exited 0#1 signal 15", Exit{Signal: 15}, ReasonStartTimeout},
		{"spawned 0#1, +2m, exited 0#1 signal 9", Exit{Signal: 9}, ReasonStartTimeout},
		{"spawned 0#1, +1m, stop, exited 0#1 code 3", Exit{Code: 3}, ReasonStartTimeout},
		{"spawned 0#1, ready 0#1, stop, exited 0#1 code 7", Exit{Code: 7}, ReasonStop},
		{"spawned 0#1, ready 0#1, stop, +25s, exited 0#1 signal 9", Exit{Signal: 9}, ReasonStopTimeout},
		{"spawned 0#1, ready 0#1, stop, kill, +1m, exited 0#1 signal 9", Exit{Signal: 9}, ReasonStop},
		{"stop, spawn-failed 0#1 killed", Exit{}, ReasonStop},
	} {
		t.Run(strings.ReplaceAll(c.given, " ", "_"), func(t *testing.T) {
			var st story
			for line := range strings.SplitSeq("fleet workers=1 max-starting=1,boot,"+c.given, ",") {
				if err := st.happens(strings.Fields(line)); err != nil {
					t.Fatal(err)
				}
			}
			slot := st.n.s.Slots[0]
			if slot.LastReason != c.want || slot.LastExit != c.exit || slot.LastExitAt != st.n.now {
				t.Errorf("kept %v, %v at %v; want %v, %v at %v",
					slot.LastReason, slot.LastExit, slot.LastExitAt, c.want, c.exit, st.n.now)
			}
			for _, r := range Reasons() {
				if n := st.n.s.Exits[r]; (n == 1) != (r == c.want) {
					t.Errorf("%d exits by %v", n, r)
				}
			}
		})
	}
}

func TestFinishNamesTheWorkerThatMadeTheFleetGiveUp(t *testing.T) {
	s := New(Config{Workers: 2, MaxStarting: 2, GiveUpAfter: 1, StartTimeout: 9, StopTimeout: 9})
	s, _ = Step(s, 0, Boot{})
	s, _ = Step(s, 0, Spawned{ID{0, 1}, 1})
	s, _ = Step(s, 0, Exited{ID{1, 1}, Exit{Signal: 11}})
	_, actions := Step(s, 0, Exited{ID{0, 1}, Exit{Signal: 15}})
	want := []Action{Finish{
		Result: Failed, Why: CauseNeverReady, Last: ID{1, 1},
		Reason: "cannot get any worker ready: 1 starts in a row failed; worker 1, the last, was ended by signal 11",
	}}
	if diff := cmp.Diff(want, actions); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestStateSurvivesBeingStored(t *testing.T) {
	s := New(Config{Workers: 2, MaxStarting: 1, StartTimeout: Never, StopTimeout: 1})
	s, _ = Step(s, 0, Boot{})
	s, _ = Step(s, 1, Spawned{ID{0, 1}, 42})
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var again State
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, again); diff != "" {
		t.Errorf("(-stored +read):\n%s", diff)
	}
}
