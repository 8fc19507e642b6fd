// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package supervisor_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/preforkd/preforkd/internal/rundir"
	"github.com/preforkd/preforkd/supervisor"
)

// inPlace takes new versions of its dataset itself, unless the file "only" is there and does not name it. With a file "refuse" it
// says no, with "silent" nothing, with "slow" it answers when that is gone, with "keep" it keeps the old version open until that is
// gone, and with "leaveN" worker N does not take any more.
const inPlace = `
import json, threading
def take(ours):
    kept = []
    while True:
        text, fds, _, _ = socket.recv_fds(ours, 65536, 8)
        if not text:
            return
        offer = json.loads(text)
        if os.path.exists("silent"):
            continue
        while os.path.exists("slow"):
            time.sleep(0.01)
        answer = {"offer": offer["offer"], "taken": not os.path.exists("refuse"), "error": "I would rather not"}
        for name, fd in zip(offer["fds"], fds):
            number = int(os.environ["PREFORKD_DATA_" + name.upper() + "_FD"])
            assert offer["data"][name]["fd"] == number, offer
            if answer["taken"]:
                if os.path.exists("keep"):
                    kept.append(os.dup(number))
                os.dup2(fd, number)
                tell(b"STATUS=" + open(offer["data"][name]["path"], "rb").read(16))
            os.close(fd)
        ours.send(json.dumps(answer).encode())
        while kept and os.path.exists("keep"):
            time.sleep(0.01)
        while kept:
            os.close(kept.pop())
only = open("only").read() if os.path.exists("only") else os.environ["PREFORKD_WORKER_ID"]
if os.environ["PREFORKD_WORKER_ID"] in only:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    speaker = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    speaker.connect("\0" + os.environ["NOTIFY_SOCKET"][1:])
    socket.send_fds(speaker, [b"X_PREFORKD_TAKES=blob"], [theirs.fileno()])
    theirs.close()
    threading.Thread(target=take, args=(ours,), daemon=True).start()
    def leave():
        while not os.path.exists("leave" + os.environ["PREFORKD_WORKER_ID"]):
            time.sleep(0.02)
        ours.shutdown(socket.SHUT_RDWR)
    threading.Thread(target=leave, daemon=True).start()
`

// taking runs workers that take new versions of blob in place, of those in only or all.
func taking(t *testing.T, at site, workers, takers int) *fleet {
	t.Helper()
	return takingWithin(t, at, workers, takers, 0)
}

// takingWithin gives them so long to start, and to answer an offer.
func takingWithin(t *testing.T, at site, workers, takers int, patience time.Duration) *fleet {
	t.Helper()
	at.put(t, "blob.bin", "the first")
	dir, err := rundir.Open(rundir.Options{Dir: at.path("run")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	config := at.config(workers, inPlace)
	config.StartTimeout = patience
	config.RunDir, config.Data = dir, []supervisor.Source{{Name: "blob", Source: at.path("blob.bin")}}
	f := run(t, config)
	f.until(fmt.Sprintf("%d workers that take blob in place", takers), func(s *supervisor.Snapshot) bool {
		n := 0
		for _, w := range s.Workers {
			if w.Status == supervisor.StatusReady && slices.Equal(w.InPlace, []string{"blob"}) {
				n++
			}
		}
		return n == takers && count(s, supervisor.StatusReady) == workers
	})
	return f
}

// reloads orders a reload of blob and checks what is said of it.
func reloads(t *testing.T, f *fleet, want string) {
	t.Helper()
	if text, err := f.Reload(t.Context(), nil, "blob"); err != nil || text != want {
		t.Errorf("Reload: %q, %v\nwant    %q", text, err, want)
	}
}

// serves checks that every worker has this version of blob, and nothing else is there.
func serves(t *testing.T, f *fleet, version int, text string) {
	t.Helper()
	f.until("every worker serves "+text, func(s *supervisor.Snapshot) bool {
		for _, w := range s.Workers {
			if w.Status != supervisor.StatusReady || w.StatusText != text || len(w.Data) != 1 || w.Data[0].Version != version {
				return false
			}
		}
		return len(s.Data) == 1 && s.Data[0].Version == version && s.Data[0].Workers == len(s.Workers)
	})
}

func TestWorkersTakeANewVersionInPlace(t *testing.T) {
	at := newSite(t)
	f := taking(t, at, 3, 3)
	before := pids(f.Snapshot())
	at.put(t, "blob.bin", "the second")
	reloads(t, f, "no worker replaced, 3 took the new data in place; blob is now version 2")
	serves(t, f, 2, "the second")
	if now := pids(f.Snapshot()); !slices.Equal(now, before) {
		t.Errorf("workers %v, were %v", now, before)
	}
	entries, err := os.ReadDir(at.path("run/data"))
	if err != nil || len(entries) != 2 || entries[0].Name() != "blob.bin" || entries[1].Name() != "blob.v2.bin" {
		t.Errorf("links: %v, %v", entries, err)
	}
	// What starts from now on has it, too.
	if _, err := f.Restart(t.Context(), 1); err != nil {
		t.Error(err)
	}
	serves(t, f, 2, "the second")
}

func TestOnlyWorkersThatDidNotAskAreReplaced(t *testing.T) {
	at := newSite(t)
	at.put(t, "only", "1")
	f := taking(t, at, 3, 1)
	before := pids(f.Snapshot())
	at.put(t, "blob.bin", "the second")
	reloads(t, f, "2 workers replaced, 1 took the new data in place; blob is now version 2")
	serves(t, f, 2, "the second")
	if now := pids(f.Snapshot()); now[1] != before[1] || now[0] == before[0] || now[2] == before[2] {
		t.Errorf("workers %v, were %v", now, before)
	}
}

func TestAWorkerThatRefusesIsReplaced(t *testing.T) {
	for _, how := range []string{"refuse", "silent"} {
		t.Run(how, func(t *testing.T) {
			at := newSite(t)
			f := takingWithin(t, at, 2, 2, 4*time.Second)
			before := pids(f.Snapshot())
			at.put(t, "blob.bin", "the second")
			at.put(t, how, "")
			reloads(t, f, "2 workers replaced, 0 took the new data in place; blob is now version 2")
			serves(t, f, 2, "the second")
			for _, pid := range before {
				if alive(pid) {
					t.Errorf("worker %d is alive", pid)
				}
			}
			if how == "refuse" && !strings.Contains(f.log.String(), "I would rather not") {
				t.Error("the log does not say why")
			}
		})
	}
}

func TestDataThatNobodyTakesChangesNothing(t *testing.T) {
	at := newSite(t)
	f := taking(t, at, 2, 2)
	before := pids(f.Snapshot())
	at.put(t, "blob.bin", "the second")
	at.put(t, "refuse", "")
	at.put(t, "broken", "")
	if _, err := f.Reload(t.Context(), nil, "blob"); kindOf(err) != supervisor.KindFleet || !strings.Contains(err.Error(), "no module named model") {
		t.Errorf("Reload: %v", err)
	}
	serves(t, f, 1, "the first")
	if now := pids(f.Snapshot()); !slices.Equal(now, before) {
		t.Errorf("workers %v, were %v", now, before)
	}
}

func TestAnOldVersionStaysInTheBooksWhileAWorkerHoldsIt(t *testing.T) {
	at := newSite(t)
	f := taking(t, at, 1, 1)
	at.put(t, "blob.bin", "the second")
	at.put(t, "keep", "")
	reloads(t, f, "no worker replaced, 1 took the new data in place; blob is now version 2; worker 0 still holds version 1 of blob")
	if snap := f.Snapshot(); len(snap.Data) != 2 || len(snap.Workers[0].Data) != 2 || snap.Data[0].Version != 1 || snap.Data[0].Workers != 1 {
		t.Errorf("data %+v, worker %+v", snap.Data, snap.Workers[0].Data)
	}
	at.remove(t, "keep")
	serves(t, f, 2, "the second")
}

func TestAReloadOfEverythingReplacesEverybody(t *testing.T) {
	at := newSite(t)
	f := taking(t, at, 2, 2)
	at.put(t, "blob.bin", "the second")
	if text, err := f.Reload(t.Context(), nil); err != nil || text != "2 workers replaced; blob is now version 2" {
		t.Errorf("Reload: %q, %v", text, err)
	}
	serves(t, f, 2, "the second")
}

// A worker that dies while others take the new version in place is started with it.
func TestAWorkerThatDiesBetweenGetsTheNewVersion(t *testing.T) {
	at := newSite(t)
	f := takingWithin(t, at, 2, 2, 4*time.Second)
	at.put(t, "blob.bin", "the second")
	at.put(t, "silent", "")
	done := make(chan error, 1)
	go func() { _, err := f.Reload(t.Context(), nil, "blob"); done <- err }()
	f.until("an offer", func(s *supervisor.Snapshot) bool { return len(s.Data) == 2 })
	if err := syscall.Kill(*f.Snapshot().Workers[1].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	serves(t, f, 2, "the second")
}

// It must not be booked as having what it was never offered.
func TestAWorkerThatChangesItsMindIsReplaced(t *testing.T) {
	at := newSite(t)
	f := taking(t, at, 2, 2)
	before := pids(f.Snapshot())
	at.put(t, "blob.bin", "the second")
	at.put(t, "slow", "")
	done := make(chan string, 1)
	go func() { text, err := f.Reload(t.Context(), nil, "blob"); done <- fmt.Sprint(text, err) }()
	f.until("an offer", func(s *supervisor.Snapshot) bool { return len(s.Data) == 2 })
	at.put(t, "leave1", "")
	f.until("worker 1 does not take any more", func(s *supervisor.Snapshot) bool { return len(s.Workers[1].InPlace) == 0 })
	at.remove(t, "slow")
	if text := <-done; text != "1 worker replaced, 1 took the new data in place; blob is now version 2<nil>" {
		t.Errorf("Reload: %s", text)
	}
	serves(t, f, 2, "the second")
	if now := pids(f.Snapshot()); now[0] != before[0] || now[1] == before[1] {
		t.Errorf("workers %v, were %v", now, before)
	}
}

func TestAFileThatChangesIsReloadedByItself(t *testing.T) {
	at := newSite(t)
	at.put(t, "blob.bin", "the first")
	config := at.config(2, "")
	config.Watch, config.Data = true, []supervisor.Source{{Name: "blob", Source: at.path("blob.bin")}}
	f := run(t, config)
	f.untilReady(2)
	at.put(t, "blob.bin", "the second")
	serves(t, f, 2, "the second")
	at.put(t, "blob.bin", "") // cannot be loaded
	f.until("a failed reload", func(s *supervisor.Snapshot) bool {
		return s.Supervisor.LastReload != nil && s.Supervisor.LastReload.Result == supervisor.ReloadFailed
	})
	serves(t, f, 2, "the second")
	at.put(t, "blob.bin", "the third")
	serves(t, f, 3, "the third")
	config.Watch = false
	if _, err := f.Reload(t.Context(), func() (supervisor.Config, error) { return config, nil }); err != nil {
		t.Error(err)
	}
}
