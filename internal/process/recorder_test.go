// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package process

// A worker with everything that came of it.

import (
	"bytes"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/contract"
)

// worker is a started Process with everything that came of it.
type worker struct {
	*Process
	events chan Event
	stdout *os.File // the reading end: it ends when nobody is left who inherited the other
	log    *log
}

// searchPath finds sh and the like; the PATH of who runs the tests may have places that not every user may look into.
const searchPath = "PATH=/usr/local/bin:/usr/bin:/bin"

// command is a Spec for a command line with an environment that has only a PATH.
func command(args ...string) *Spec {
	return &Spec{
		Plan:       &contract.Plan{Command: args, Base: []string{searchPath}, Workers: 1, Incarnation: 1},
		StopSignal: unix.SIGTERM, StopTimeout: time.Minute,
	}
}

// start starts a worker whose output is read here. When the test ends, so does it.
func start(t *testing.T, spec *Spec) *worker {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	spec.Stdout = int(w.Fd())
	p := &worker{events: make(chan Event, 8), stdout: r, log: &log{}}
	if spec.Log == nil {
		spec.Log = p.log
	}
	onThread(func() { p.Process, err = Start(spec, func(e Event) { p.events <- e }) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		wait(t, p.Gone())
		r.Close()
	})
	return p
}

// spawned is start, and waits until the command runs.
func spawned(t *testing.T, spec *Spec) *worker {
	t.Helper()
	p := start(t, spec)
	if e := p.next(t); e != (Spawned{}) {
		t.Fatalf("the first event is %#v, want Spawned", e)
	}
	return p
}

func (p *worker) next(t *testing.T) Event {
	t.Helper()
	select {
	case e := <-p.events:
		return e
	case <-time.After(patience):
		t.Fatal("no event came")
		return nil
	}
}

// all returns the events until the whole group has ended.
func (p *worker) all(t *testing.T) []Event {
	t.Helper()
	wait(t, p.Gone())
	close(p.events)
	var list []Event
	for e := range p.events {
		list = append(list, e)
	}
	return list
}

// text returns all that the worker and its children write until the last one has ended.
func (p *worker) text(t *testing.T) string {
	t.Helper()
	_ = p.stdout.SetReadDeadline(time.Now().Add(patience))
	text, err := io.ReadAll(p.stdout)
	if err != nil {
		t.Fatalf("after %q: %v", text, err)
	}
	return string(text)
}

// line returns the next line that the worker writes, without its end.
func (p *worker) line(t *testing.T) string {
	t.Helper()
	_ = p.stdout.SetReadDeadline(time.Now().Add(patience))
	var text []byte
	for b := make([]byte, 1); ; text = append(text, b...) {
		if _, err := p.stdout.Read(b); err != nil {
			t.Fatalf("after %q: %v", text, err)
		}
		if b[0] == '\n' {
			return string(text)
		}
	}
}

// log is a bytes.Buffer for several goroutines.
type log struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffer.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffer.String()
}
