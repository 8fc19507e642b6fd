// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

// A real datagram socket in place of systemd's, and a fleet that does what the test says.

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/supervisor"
)

// manager is the service manager's end. Messages of other kinds than those waited for are kept apart.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
	seen []string
}

func newManager(t *testing.T, name string) *manager {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	return &manager{t: t, conn: conn}
}

// next returns the next message that begins with one of the prefixes.
func (m *manager) next(prefixes ...string) string {
	m.t.Helper()
	if err := m.conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		m.t.Fatal(err)
	}
	buffer := make([]byte, 4096)
	for {
		n, err := m.conn.Read(buffer)
		if err != nil {
			m.t.Fatalf("no message that begins with %q: %v; seen: %q", prefixes, err, m.seen)
		}
		text := string(buffer[:n])
		m.seen = append(m.seen, text)
		for _, prefix := range prefixes {
			if strings.HasPrefix(text, prefix) {
				return text
			}
		}
	}
}

const states = "READY=1 RELOADING=1 STOPPING=1"

// state returns the next message that is not the status or a sign of life.
func (m *manager) state(want string) string {
	m.t.Helper()
	text := m.next(strings.Fields(states)...)
	if !strings.HasPrefix(text, want) {
		m.t.Fatalf("systemd was told %q, want %s; seen: %q", text, want, m.seen)
	}
	return text
}

// reloadTime returns what the next message says to be the time of a reload.
func (m *manager) reloadTime() int64 {
	m.t.Helper()
	_, usec, _ := strings.Cut(m.state("RELOADING=1"), "MONOTONIC_USEC=")
	n, err := strconv.ParseInt(strings.TrimSpace(usec), 10, 64)
	if err != nil {
		m.t.Fatal(err)
	}
	return n
}

// puppet is a fleet that does what a test says.
type puppet struct {
	mu      sync.Mutex
	snap    *supervisor.Snapshot
	sick    bool
	asked   int // how often it was asked for its health
	updated chan struct{}
}

func (p *puppet) Snapshot() *supervisor.Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.snap
}

func (p *puppet) Healthy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	return !p.sick
}

func (p *puppet) looks() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

func (p *puppet) Updated() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.updated
}

// becomes shows a state with so many of four workers ready.
func (p *puppet) becomes(state supervisor.State, ready int, more ...func(*supervisor.Snapshot)) {
	snap := &supervisor.Snapshot{Supervisor: supervisor.Supervised{State: state}}
	for i := range 4 {
		w := supervisor.Worker{ID: i, PID: new(100 + i), Status: supervisor.StatusStarting}
		if i < ready {
			w.Status = supervisor.StatusReady
		}
		snap.Workers = append(snap.Workers, w)
	}
	for _, f := range more {
		f(snap)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.snap = snap
	if p.updated != nil {
		close(p.updated)
	}
	p.updated = make(chan struct{})
}

func operation(kind string, at time.Time) func(*supervisor.Snapshot) {
	return func(s *supervisor.Snapshot) {
		s.Supervisor.Operation = &supervisor.Operation{Kind: kind, StartedAt: at, Phase: "rolling", Done: 1, Total: 4}
	}
}

func reloaded(result string, at time.Time) func(*supervisor.Snapshot) {
	return func(s *supervisor.Snapshot) { s.Supervisor.LastReload = &supervisor.Reload{Result: result, At: at} }
}

// tell runs the notifier until the test ends.
func tell(t *testing.T, p *puppet) {
	t.Helper()
	leaks := goleak.IgnoreCurrent()
	done := notifySystemd(p, slog.New(slog.DiscardHandler))
	t.Cleanup(func() {
		done()
		goleak.VerifyNone(t, leaks)
	})
}

func monotonic(t *testing.T) int64 {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	return now.Nano() / 1000
}

func TestSystemdIsToldTheStatesOfAFleet(t *testing.T) {
	for name, address := range map[string]string{
		"path":     filepath.Join(t.TempDir(), "notify"),
		"abstract": fmt.Sprintf("@preforkd-test/%d/%s", os.Getpid(), t.Name()),
	} {
		t.Run(name, func(t *testing.T) {
			m, p := newManager(t, address), &puppet{}
			p.becomes(supervisor.StateLoading, 0)
			tell(t, p)
			if got := m.next("STATUS="); got != "STATUS=starting" {
				t.Errorf("status %q", got)
			}
			p.becomes(supervisor.StateStarting, 0)
			p.becomes(supervisor.StateRunning, 1)
			m.state("READY=1")
			m.next("STATUS=1 of 4 workers ready")
			began, asked := time.Now(), monotonic(t)
			p.becomes(supervisor.StateRunning, 4, operation("reload", began))
			if told := m.reloadTime(); told < asked || told > monotonic(t) {
				t.Errorf("the reload was told to be at %d, asked for at %d", told, asked)
			}
			p.becomes(supervisor.StateRunning, 3, operation("reload", began)) // the same one
			p.becomes(supervisor.StateRunning, 4, reloaded(supervisor.ReloadDone, time.Now()))
			m.state("READY=1")
			p.becomes(supervisor.StateStopping, 4)
			m.state("STOPPING=1")
			p.becomes(supervisor.StateStopped, 0)
		})
	}
}

// systemctl reload waits for RELOADING=1 from after its request, and then for READY=1.
func TestEveryReloadIsAnswered(t *testing.T) {
	m, p := newManager(t, filepath.Join(t.TempDir(), "notify")), &puppet{}
	p.becomes(supervisor.StateRunning, 4)
	tell(t, p)
	m.state("READY=1")

	at := time.Now()
	p.becomes(supervisor.StateRunning, 4, reloaded(supervisor.ReloadFailed, at)) // too quick to be seen under way
	first := m.reloadTime()
	m.state("READY=1")
	m.next("STATUS=4 of 4 workers ready; the last reload failed") // and another look: nothing new

	p.becomes(supervisor.StateRunning, 4, operation("reload", at.Add(1)))
	if second := m.reloadTime(); second < first {
		t.Errorf("told %d after %d", second, first)
	}
	p.becomes(supervisor.StateRunning, 4, operation("reload", at.Add(2))) // that waited for the first
	m.reloadTime()
	p.becomes(supervisor.StateRunning, 4, operation("restart", at.Add(3)))
	m.state("READY=1")
}

func TestTheLastNewsIsToldBeforeTheEnd(t *testing.T) {
	m, p := newManager(t, filepath.Join(t.TempDir(), "notify")), &puppet{}
	p.becomes(supervisor.StateRunning, 4)
	done := notifySystemd(p, slog.New(slog.DiscardHandler))
	m.state("READY=1")
	p.mu.Lock()
	p.snap = &supervisor.Snapshot{Supervisor: supervisor.Supervised{State: supervisor.StateStopped}} // without an update
	p.mu.Unlock()
	done()
	m.state("STOPPING=1")
}

func TestTheWatchdogHearsOnlyOfAHealthySupervisor(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "20000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	m, p := newManager(t, filepath.Join(t.TempDir(), "notify")), &puppet{}
	p.becomes(supervisor.StateRunning, 4)
	tell(t, p)
	m.next("WATCHDOG=1")
	m.next("WATCHDOG=1")
	p.mu.Lock()
	p.sick = true
	p.mu.Unlock()
	p.becomes(supervisor.StateRunning, 4, operation("reload", time.Now()))
	m.state("RELOADING=1") // and with it all that was under way
	p.mu.Lock()
	p.asked = 0
	p.mu.Unlock()
	deadline := time.Now().Add(30 * time.Second)
	for p.looks() < 10 {
		if time.Now().After(deadline) {
			t.Fatal("its clock stands still")
		}
		<-time.After(time.Millisecond)
	}
	m.seen = nil
	p.becomes(supervisor.StateStopping, 4)
	m.state("STOPPING=1")
	if n := strings.Count(strings.Join(m.seen, "\n"), "WATCHDOG=1"); n > 0 {
		t.Errorf("%d signs of life of a supervisor that hangs", n)
	}
}

func TestTheWatchdogIsAnsweredTwiceInItsTimeWhereItIsOurs(t *testing.T) {
	own := strconv.Itoa(os.Getpid())
	for _, c := range []struct {
		usec, pid string
		want      time.Duration
		warns     bool
	}{
		{"30000000", own, 15 * time.Second, false},
		{"30000000", "", 15 * time.Second, false},
		{"30000000", "1", 0, false},
		{"", own, 0, false},
		{"soon", own, 0, true},
		{"9223372036854775807", own, 0, false}, // more than a time.Duration holds
	} {
		t.Setenv("WATCHDOG_USEC", c.usec)
		t.Setenv("WATCHDOG_PID", c.pid)
		var log bytes.Buffer
		if got := signOfLife(slog.New(slog.NewTextHandler(&log, nil))); got != c.want || c.warns != (log.Len() > 0) {
			t.Errorf("WATCHDOG_USEC=%s WATCHDOG_PID=%s: every %v, want %v; log: %s", c.usec, c.pid, got, c.want, &log)
		}
	}
}

func TestWithoutAServiceManagerNothingIsTold(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	leaks := goleak.IgnoreCurrent()
	done := notifySystemd(nil, nil)
	goleak.VerifyNone(t, leaks)
	done()
}

func TestAServiceManagerThatIsGoneIsWarnedOfOnce(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"))
	p := &puppet{}
	p.becomes(supervisor.StateRunning, 4)
	var log bytes.Buffer
	done := notifySystemd(p, slog.New(slog.NewTextHandler(&log, nil)))
	p.becomes(supervisor.StateStopping, 4)
	done()
	if n := strings.Count(log.String(), "cannot tell systemd"); n != 1 {
		t.Errorf("%d warnings:\n%s", n, log.String())
	}
}

func TestTheStatusLineSaysHowTheFleetIs(t *testing.T) {
	saved, size := int64(2254857830), int64(4<<30)
	snapshot := func(state supervisor.State, ready int, more ...func(*supervisor.Snapshot)) *supervisor.Snapshot {
		p := &puppet{}
		p.becomes(state, ready, more...)
		return p.snap
	}
	for want, snap := range map[string]*supervisor.Snapshot{
		"4 of 4 workers ready, saving 2.1 GiB": snapshot(supervisor.StateRunning, 4, func(s *supervisor.Snapshot) {
			s.Memory.Saved = &saved
		}),
		"0 of 4 workers ready": snapshot(supervisor.StateStarting, 0),
		"4 of 4 workers ready; reload: 1 of 4 workers replaced": snapshot(supervisor.StateRunning, 4,
			operation("reload", time.Now()), func(s *supervisor.Snapshot) { // two rows of one slot
				s.Workers = append(s.Workers, supervisor.Worker{ID: 0, Status: supervisor.StatusStarting})
			}),
		"4 of 4 workers ready; the last reload failed: preforkd status says why": snapshot(supervisor.StateRunning, 4,
			reloaded(supervisor.ReloadFailed, time.Now())),
		"stopping, 4 worker processes left": snapshot(supervisor.StateStopping, 4),
		"loading data, 1.0 GiB of 4.0 GiB": snapshot(supervisor.StateLoading, 0, func(s *supervisor.Snapshot) {
			s.Data = []supervisor.Data{{Loaded: 1 << 30, Size: &size}}
		}),
		"loading data, 1.0 GiB": snapshot(supervisor.StateLoading, 0, func(s *supervisor.Snapshot) {
			s.Data = []supervisor.Data{{Loaded: 1 << 30, Size: &size}, {}}
		}),
	} {
		if got := statusLine(snap); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
