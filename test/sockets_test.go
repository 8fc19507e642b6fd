// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: with --accept reuseport connections are spread over the workers, none waits for a slot that has no worker, and those
// that wait for a killed worker are answered by its successor; scaling up and down under load loses nothing; a unix socket has
// the mode that was asked for, takes the place of a stale one, never that of a live one, and goes at the end.

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/preforkd/preforkd/supervisor"
)

// servedBy returns the pid in an answer of stdlib.py.
func servedBy(t *testing.T, body string) (pid int) {
	t.Helper()
	if _, err := fmt.Sscanf(body, "served by %d,", &pid); err != nil {
		t.Fatalf("answer %q: %v", body, err)
	}
	return pid
}

func TestReuseportSpreadsConnectionsAndSkipsDeadSlots(t *testing.T) {
	const requests = 400
	f, l := standard(t, "--accept", "reuseport")
	spread := func(slots ...int) {
		t.Helper()
		counts := map[int]int{}
		for range requests {
			body, err := get(l.address)
			if err != nil {
				t.Fatal(err)
			}
			counts[servedBy(t, body)]++
		}
		snap, err := f.snapshot()
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range snap.Workers {
			if !slices.Contains(slots, w.ID) {
				continue
			}
			n := counts[*w.PID]
			t.Logf("worker %d answered %d of %d", w.ID, n, requests)
			if fair := requests / len(slots); n < fair/2 || n > fair*2 {
				t.Errorf("worker %d has answered %d of %d requests, want about %d", w.ID, n, requests, fair)
			}
		}
	}
	snap := f.settled(4)
	if accept := snap.Listen[0].Accept; accept != "reuseport" {
		t.Errorf("accept is %q in the stats", accept)
	}
	spread(0, 1, 2, 3)

	// Worker 2 dies and cannot start again.
	broken := filepath.Join(f.dir, "broken2")
	if err := os.WriteFile(broken, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(*snap.Workers[2].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	f.until("slot 2 waits for its next start", func(s *supervisor.Snapshot) bool { return s.Workers[2].Status == supervisor.StatusBackoff })
	spread(0, 1, 3)
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
	f.settled(4)
	spread(0, 1, 2, 3)
	f.stop()
}

func TestAKilledWorkersQueueIsServedByItsSuccessor(t *testing.T) {
	const connections = 40
	f, l := standard(t, "--accept", "reuseport")
	before := f.settled(4)
	frozen := before.Workers[1]
	if err := syscall.Kill(*frozen.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	// Some of these go into the queue of the worker that does not move.
	var conns []net.Conn
	for range connections {
		conn, err := net.Dial("tcp", l.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	if err := syscall.Kill(*frozen.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	bySuccessor := 0
	for i, conn := range conns {
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(conn)
		at := bytes.Index(answer, []byte("served by"))
		if err != nil || at < 0 {
			t.Errorf("connection %d: %q, %v", i, answer, err)
			continue
		}
		if pid := servedBy(t, string(answer[at:])); !slices.Contains(mainPIDs(before), pid) {
			bySuccessor++
		}
	}
	t.Logf("%d of %d connections were served by the successor", bySuccessor, connections)
	if bySuccessor == 0 {
		t.Error("no connection had waited: the test shows nothing")
	}
	f.settled(4)
	f.stop()
}

func TestScalingUnderLoadLosesNothing(t *testing.T) {
	w := webservers()[0] // gunicorn
	f, l := w.start(t, 2)
	stop := l.start(t)
	for _, n := range []int{5, 2, 4, 1} {
		if text := f.must("scale", fmt.Sprint(n)); !strings.Contains(text, fmt.Sprint(n)) {
			t.Errorf("scale %d said %q", n, text)
		}
		snap, err := f.snapshot()
		if err != nil || len(ready(snap)) != n || len(snap.Workers) != n {
			t.Errorf("after scale %d there are %d rows, %v", n, len(snap.Workers), err)
		}
	}
	result := stop()
	t.Log(result)
	result.nothingLost(t)
	f.stop()
}

func TestTTINAndTTOUUnderLoadLoseNothing(t *testing.T) {
	f := start(t, spec{
		through: []string{tool(t, "setsid")}, // TTIN and TTOU mean something else on a terminal
		flags:   []string{"-w", "2", "-l", "127.0.0.1:0"},
		command: []string{python(t, nil), script(t, "stdlib.py")},
	})
	l := load{
		clients: 8, address: f.untilReady(2).Listen[0].Address,
		right: func(body string) bool { return strings.HasPrefix(body, "served by") },
	}
	stop := l.start(t)
	n := 2
	for _, sig := range []syscall.Signal{syscall.SIGTTIN, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGTTOU, syscall.SIGTTOU} {
		if sig == syscall.SIGTTIN {
			n++
		} else {
			n--
		}
		f.signal(sig)
		f.settled(n)
	}
	f.signal(syscall.SIGTTOU) // the last one stays
	f.until("the signal is logged", func(*supervisor.Snapshot) bool { return len(f.logged("scaled")) == 6 })
	f.settled(1)
	result := stop()
	t.Log(result)
	result.nothingLost(t)
	f.stop()
}

func TestAUnixSocketHasItsModeAndItsOwner(t *testing.T) {
	dir := place(t)
	path := filepath.Join(dir, "web.sock")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	s := spec{
		dir: dir, flags: []string{"-w", "2", "-l", "unix:" + path, "--socket-mode", "0621"},
		command: []string{python(t, nil), script(t, "stdlib.py")},
	}
	f := start(t, s)
	f.untilReady(2)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o621 || info.Mode().Type() != fs.ModeSocket {
		t.Errorf("%v, %v, want a socket with mode 0621", info.Mode(), err)
	}
	l := load{clients: 4, address: "unix:" + path, path: "/", right: func(body string) bool { return strings.HasPrefix(body, "served by") }}
	stop := l.start(t)
	f.must("reload")
	result := stop()
	t.Log(result)
	result.nothingLost(t)

	// A second one does not take it away.
	s.dir, s.flags = "", slices.Replace(slices.Clone(s.flags), 3, 4, "unix:"+path)
	other := start(t, s)
	other.exits(4)
	if !strings.Contains(other.output(), "cannot listen on unix:"+path) {
		t.Errorf("the second one said: %s", other.output())
	}
	if err := l.request(); err != nil {
		t.Errorf("after that: %v", err)
	}
	f.stop()
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}
