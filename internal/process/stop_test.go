// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package process

// Stopping: who gets which signal, and when nobody is left.

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/contract"
)

// helpMaster has one child in its group, says when it gets a TERM, and ends when its descriptor 3 does.
func helpMaster() error {
	unix.CloseOnExec(3)
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGTERM)
	child := exec.Command("/proc/self/exe")
	child.Env = helperEnv("stubborn")
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	if err := child.Start(); err != nil {
		return err
	}
	released := make(chan struct{})
	go func() {
		defer close(released)
		_, _ = io.Copy(io.Discard, os.NewFile(3, "gate"))
	}()
	for {
		select {
		case <-signals:
			fmt.Println("master: TERM")
		case <-released:
			return nil
		}
	}
}

// helpStubborn says when it gets a TERM and goes on.
func helpStubborn() error {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGTERM)
	fmt.Println("child: ready")
	for range signals {
		fmt.Println("child: TERM")
	}
	return nil
}

// pool starts a master and its child. The master ends when release is closed.
func pool(t *testing.T, grace time.Duration) (p *worker, release *os.File) {
	t.Helper()
	usedHelpers.Store("master", true)
	usedHelpers.Store("stubborn", true)
	gate, release, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { release.Close() })
	defer gate.Close()
	spec := command("/proc/self/exe")
	spec.Plan.Base = helperEnv("master")
	spec.Plan.Sockets = []contract.Socket{{Name: "gate"}}
	spec.Sockets = []int{int(gate.Fd())}
	spec.StopTimeout = grace
	p = spawned(t, spec)
	if line := p.line(t); line != "child: ready" {
		t.Fatalf("it says %q", line)
	}
	return p, release
}

func TestASignalReachesTheLeaderAndTheRestOnlyWhenTheLeaderIsDead(t *testing.T) {
	p, release := pool(t, 10*time.Millisecond)
	for range 2 {
		p.Signal(unix.SIGTERM)
		if line := p.line(t); line != "master: TERM" {
			t.Fatalf("it says %q", line)
		}
	}
	deadline := p.deadline
	release.Close()
	if e := p.next(t); e != (Exited{}) {
		t.Fatalf("the event is %#v", e)
	}
	// The child ignores its one TERM and gets the KILL when the grace is over.
	if text := strings.ReplaceAll(p.text(t), "child: TERM\n", ""); text != "" {
		t.Errorf("it says %q", text)
	}
	wait(t, p.Gone())
	if deadline == nil || deadline != p.deadline {
		t.Error("the grace began anew with the leader's death: the group could take twice as long as it may")
	}
	p.Signal(unix.SIGTERM) // nobody is there any more
	p.Kill()
}

func TestTheRestGetsTheStopSignalAndIsWaitedFor(t *testing.T) {
	p, release := pool(t, time.Hour)
	release.Close()
	if e := p.next(t); e != (Exited{}) {
		t.Fatalf("the event is %#v", e)
	}
	if line := p.line(t); line != "child: TERM" {
		t.Errorf("it says %q", line)
	}
	select {
	case <-p.Gone():
		t.Error("Gone is closed, and the child is still there")
	default:
	}
	// In a hurry nobody waits for an hour.
	p.Kill()
	wait(t, p.Gone())
	if text := p.text(t); text != "" {
		t.Errorf("it says %q", text)
	}
}

func TestHurryShortensTheTimeOfAGroup(t *testing.T) {
	for name, hurryFirst := range map[string]bool{"before it is asked to stop": true, "while it stops": false} {
		t.Run(name, func(t *testing.T) {
			p, release := pool(t, time.Hour)
			if hurryFirst {
				p.Hurry(10 * time.Millisecond)
				p.Hurry(time.Hour) // takes nothing back
			}
			release.Close()
			if e := p.next(t); e != (Exited{}) {
				t.Fatalf("the event is %#v", e)
			}
			if !hurryFirst {
				p.Hurry(10 * time.Millisecond)
			}
			wait(t, p.Gone())
		})
	}
}

func TestTheDeathOfACrashedLeaderStopsItsGroupToo(t *testing.T) {
	p, _ := pool(t, time.Hour)
	if err := unix.Kill(p.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if e := p.next(t); e != (Exited{Signal: 9}) {
		t.Fatalf("the event is %#v", e)
	}
	if line := p.line(t); line != "child: TERM" {
		t.Errorf("it says %q", line)
	}
}

func TestKillTakesTheWholeGroup(t *testing.T) {
	p, _ := pool(t, time.Hour)
	p.Kill()
	if events := p.all(t); !slices.Equal(events, []Event{Exited{Signal: 9}}) {
		t.Errorf("the events are %#v", events)
	}
	if text := p.text(t); text != "" { // ends only when the child has
		t.Errorf("it says %q", text)
	}
}

// A process that left the group is its own master's: documented at Kill, and in DESIGN 8 (cgroup.kill would reach it).
func TestAGrandchildWithASessionOfItsOwnIsNotReached(t *testing.T) {
	if _, err := exec.LookPath("setsid"); err != nil {
		t.Skip("setsid is missing")
	}
	p := spawned(t, command("sh", "-c", `setsid sh -c 'echo $$; exec sleep 60' & wait`))
	var pid int
	if _, err := fmt.Sscan(p.line(t), &pid); err != nil {
		t.Fatal(err)
	}
	p.Kill()
	wait(t, p.Gone())
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Errorf("the grandchild %d: %v; Kill reaches further than it says", pid, err)
	}
}

// What is left of a group may be zombies that their parent does not reap: they are no reason to wait.
func TestZombiesAreNotWaitedFor(t *testing.T) {
	if onlyZombies(unix.Getpgrp()) {
		t.Error("our own group counts as dead")
	}
	if !onlyZombies(1 << 22) { // above the largest pid
		t.Error("a group without members counts as alive")
	}
}
