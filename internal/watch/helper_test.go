// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package watch

// What the tests share: a watcher whose calls a test waits for.

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if names := os.Getenv(childWatches); names != "" {
		os.Exit(watchHere(names))
	}
	goleak.VerifyTestMain(m)
}

// byEvents never looks by itself: what is told was told by inotify. It settles slower than a busy machine writes.
func byEvents() pace {
	return pace{
		settle: 200 * time.Millisecond, slow: time.Hour, fast: time.Hour, restless: time.Hour, leave: 10 * time.Second,
	}
}

// calls are what a watcher has told.
type calls struct {
	t    *testing.T
	told chan []string
	*Watcher
}

func watching(t *testing.T, p pace, paths map[string]string) *calls {
	t.Helper()
	c := &calls{t: t, told: make(chan []string, 1000)}
	w, err := start(nil, p, func(names []string) { c.told <- names })
	if err != nil {
		t.Fatal(err)
	}
	c.Watcher = w
	t.Cleanup(w.Close)
	w.Set(paths)
	return c
}

// next waits for a call, and wants these names in it.
func (c *calls) next(names ...string) {
	c.t.Helper()
	select {
	case got := <-c.told:
		if !slices.Equal(got, names) {
			c.t.Errorf("told of %q, want %q", got, names)
		}
	case <-time.After(10 * time.Second):
		c.t.Fatalf("%q were not told", names)
	}
}

// none wants that nothing has been told before now. A file that is changed only for this, and told, is the proof that
// what came before has been dealt with.
func (c *calls) none(proof, path string) {
	c.t.Helper()
	write(c.t, path, fmt.Sprint(time.Now().UnixNano()))
	c.next(proof)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// logged is a log whose text can be read.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
