// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package supervisor_test

// What the tests share: a fleet that runs beside a test and must leave nothing behind.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/preforkd/preforkd/supervisor"
)

// fleet is a supervisor that runs beside a test.
type fleet struct {
	*supervisor.Supervisor
	t    *testing.T
	err  chan error
	log  *buffer
	over bool
}

// buffer is an io.Writer that many write to and a test reads.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// run starts a fleet; the test fails if anything of it is left at its end.
func run(t *testing.T, config supervisor.Config) *fleet {
	t.Helper()
	descriptors := countDescriptors(t)
	leaks := goleak.IgnoreCurrent()
	f := &fleet{t: t, err: make(chan error, 1), log: new(buffer)}
	if config.WorkerLog == nil {
		config.WorkerLog = f.log
	}
	if config.Environ == nil {
		config.Environ = os.Environ()
	}
	if config.Log == nil {
		config.Log = slog.New(slog.NewTextHandler(f.log, nil))
	}
	s, err := supervisor.New(config)
	if err != nil {
		t.Fatal(err)
	}
	f.Supervisor = s
	go func() { f.err <- s.Run(context.Background()) }()
	t.Cleanup(func() {
		if !f.over {
			f.Kill()
			f.wait()
		}
		goleak.VerifyNone(t, leaks)
		if now := countDescriptors(t); now > descriptors {
			t.Errorf("%d descriptors before the fleet, %d after it", descriptors, now)
		}
		if t.Failed() {
			t.Logf("worker output:\n%s", f.log)
		}
	})
	return f
}

// wait returns what Run returned.
func (f *fleet) wait() error {
	f.t.Helper()
	select {
	case err := <-f.err:
		f.over = true
		return err
	case <-time.After(30 * time.Second):
		f.t.Fatal("Run did not return")
		return nil
	}
}

// until polls for a fact about the snapshot.
func (f *fleet) until(what string, fact func(*supervisor.Snapshot) bool) *supervisor.Snapshot {
	f.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		snap := f.Snapshot()
		if fact(snap) {
			return snap
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("not in time: %s; workers: %+v", what, snap.Workers)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func (f *fleet) untilReady(n int) *supervisor.Snapshot {
	f.t.Helper()
	return f.until(fmt.Sprintf("%d ready workers", n), func(s *supervisor.Snapshot) bool { return count(s, supervisor.StatusReady) == n })
}

func count(s *supervisor.Snapshot, status supervisor.Status) int {
	n := 0
	for _, w := range s.Workers {
		if w.Status == status {
			n++
		}
	}
	return n
}

func countDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

func file(t *testing.T, name string, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func kindOf(err error) supervisor.Kind {
	if e, ok := errors.AsType[*supervisor.Error](err); ok {
		return e.Kind
	}
	return 0
}

var sleeper = []string{"sleep", "1000"}
