// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package ready

// When Wait returns, and what it says when it was cancelled.

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/host"
)

// nobody is a user that is neither root nor the one who runs the tests.
const nobody = 65534

func TestEvidence(t *testing.T) {
	for name, c := range map[string]struct {
		told  bool
		looks string // one letter a look: s seen, n not seen, u unknown
		ready int    // number of the look after which the worker is ready, -1 never
	}{
		"seen":                            {false, "nns", 2},
		"seen among unknown":              {false, "uus", 2},
		"nothing but unknown":             {false, "uuuuuuuuuuuu", -1},
		"READY=1 but not seen":            {true, "nnnnnnnnnnnn", -1},
		"READY=1 and unreadable":          {true, "nuuuuu", 5},
		"READY=1, unreadable for a while": {true, "nuuuunuuuunuuuun", -1},
	} {
		t.Run(name, func(t *testing.T) {
			e, ready := evidence{told: c.told}, -1
			for i, letter := range c.looks {
				if e.ready(map[rune]Verdict{'s': Seen, 'n': NotSeen, 'u': Unknown}[letter]) {
					ready = i
					break
				}
			}
			if ready != c.ready {
				t.Errorf("ready after look %d, want %d", ready, c.ready)
			}
		})
	}
}

func TestReadinessByTimeAndMessage(t *testing.T) {
	const never = time.Duration(-1)
	for name, c := range map[string]struct {
		mode     string
		notified time.Duration // when READY=1 comes
		want     time.Duration // when the worker is ready; never: it is not within a minute
	}{
		"auto, no listeners, silent":      {"auto", never, time.Second},
		"auto, no listeners, READY early": {"auto", 300 * time.Millisecond, 300 * time.Millisecond},
		"auto, no listeners, READY late":  {"auto", 3 * time.Second, time.Second},
		"notify":                          {"notify", 3 * time.Second, 3 * time.Second},
		"notify, silent":                  {"notify", never, never},
		"alive":                           {"alive:5s", never, 5 * time.Second},
		"alive, READY before":             {"alive:5s", time.Second, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mode, err := ParseMode(c.mode)
				if err != nil {
					t.Fatal(err)
				}
				notified := make(chan struct{})
				if c.notified != never {
					time.AfterFunc(c.notified, func() { close(notified) })
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				began := time.Now()
				err = Probe{PID: 1, Mode: mode, Notified: notified}.Wait(ctx)
				got := time.Since(began)
				if err != nil {
					got = never
				}
				if got != c.want || err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("ready after %v (%v), want %v", got, err, c.want)
				}
			})
		})
	}
}

func TestReadyCountsWhereNothingCanBeRead(t *testing.T) {
	archive, err := txtar.ParseFile("testdata/proc/uring.txtar")
	if err != nil {
		t.Fatal(err)
	}
	notified := make(chan struct{})
	p := Probe{Proc: unpack(t, archive), PID: 10, Inodes: []uint64{21530}, Notified: notified}

	ctx, cancel := context.WithTimeout(t.Context(), pause*(blindLooks+2))
	defer cancel()
	if err := p.Wait(ctx); err == nil || !strings.Contains(err.Error(), "io_uring") {
		t.Fatalf("without READY=1: %v", err)
	}
	close(notified)
	if err := p.Wait(t.Context()); err != nil {
		t.Fatalf("with READY=1: %v", err)
	}
}

func TestAWorkerThatMayNotBeReadIsUnknown(t *testing.T) {
	if unix.Getuid() != 0 {
		t.Skip("needs root, to become somebody else")
	}
	w := start(t, listen(t), nil, "", []string{"/bin/sleep", "3600"}, func(cmd *exec.Cmd) { cmd.Dir = "/" })
	if verdict, err := w.look(); verdict != NotSeen {
		t.Fatalf("as root: %v, %v", verdict, err)
	}
	asUser(t, nobody, func() {
		verdict, err := w.look()
		if verdict != Unknown || !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EPERM) {
			t.Errorf("%v, %v", verdict, err)
		}
	})
}

// Root in a container has no CAP_SYS_PTRACE: it looks as the worker's own user, unless that is of no use either.
func TestRootWithoutPtraceLooksAsTheWorkersUser(t *testing.T) {
	if unix.Getuid() != 0 {
		t.Skip("needs root, to become somebody else")
	}
	for _, mode := range []os.FileMode{0o755, 0o711} { // who may not read its program may not look into a process
		program := filepath.Join(t.TempDir(), "sleep")
		text, err := os.ReadFile("/bin/sleep")
		if err == nil {
			err = errors.Join(os.WriteFile(program, text, mode), os.Chmod(program, mode), os.Chmod(filepath.Dir(program), 0o755),
				os.Chmod(filepath.Dir(filepath.Dir(program)), 0o755))
		}
		if err != nil {
			t.Fatal(err)
		}
		w := start(t, listen(t), nil, "", []string{program, "3600"}, func(cmd *exec.Cmd) {
			cmd.Dir = "/"
			cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		})
		asThread(func() {
			before := host.Identify()
			header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
			var data [2]unix.CapUserData
			if err := unix.Capget(&header, &data[0]); err != nil {
				t.Error(err)
			}
			data[0].Effective &^= 1 << unix.CAP_SYS_PTRACE
			if err := unix.Capset(&header, &data[0]); err != nil {
				t.Error(err)
			}
			switch verdict, err := w.look(); {
			case mode == 0o755 && (verdict != NotSeen || err != nil):
				t.Errorf("its program may be read: %v, %v", verdict, err)
			case mode == 0o711 && (verdict != Unknown || !errors.Is(err, unix.EACCES)):
				t.Errorf("its program may not be read: %v, %v", verdict, err)
			}
			if after := host.Identify(); after != before {
				t.Errorf("the thread is %v now, was %v", after, before)
			}
		})
	}
}

func TestAZombieIsNotThere(t *testing.T) {
	l := listen(t)
	cmd := exec.Command("/bin/true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Its end is awaited, but it is not reaped.
	if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	look := func() {
		verdict, err := Waiting("/proc", host.Tree("/proc", cmd.Process.Pid), []uint64{l.inode})
		if verdict != NotSeen || err != nil {
			t.Errorf("%v, %v", verdict, err)
		}
	}
	look()
	if unix.Getuid() == 0 {
		asUser(t, nobody, look)
	}
	_ = cmd.Wait()
}

func TestReadyCountsWhereProcHidesTheWorker(t *testing.T) {
	notified := make(chan struct{})
	close(notified)
	p := Probe{Proc: t.TempDir(), PID: 10, Inodes: []uint64{1}, Notified: notified}
	if err := p.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestWhatWasSeenLastIsSaid(t *testing.T) {
	listener := listen(t)
	w := start(t, listener, nil, "", []string{findPython(t), "idle.py", "read"})
	w.inside(t, []int{syscall.SYS_READ})
	wait := func(p Probe) string {
		ctx, cancel := context.WithTimeout(t.Context(), pause/2)
		defer cancel()
		err := p.Wait(ctx)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%v is not the context's error", err)
		}
		return err.Error()
	}
	contains := func(text string, wants ...string) {
		t.Helper()
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("%q does not say %q", text, want)
			}
		}
	}
	p := w.probe(nil)
	contains(wait(p), "none waits on it", "--ready notify", "alive:DUR")
	p.Inodes = []uint64{1}
	contains(wait(p), "no listening socket open", "--ready notify", "alive:DUR")
	p.Mode = Mode{Kind: Notify}
	contains(wait(p), "READY=1", "--ready auto", "alive:DUR")
	p.Mode = Mode{Kind: Alive, Alive: time.Hour}
	contains(wait(p), "1h0m0s")
}
