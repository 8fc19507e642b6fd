// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// The workers that live, counted from outside again and again: by the kernel's list of preforkd's children.

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// crowd is what a count over some time has shown.
type crowd struct {
	samples, most int
	sum           int // of the numbers of workers, none counted beyond what was wanted
	listed        int // the most rows with a process in /stats
}

// average is how many of the wanted workers were there.
func (c crowd) average() float64 { return float64(c.sum) / float64(max(c.samples, 1)) }

// watch counts the workers every 10 ms, and the rows of /stats ten times a second, until the returned function is called.
func (f *fleet) watch(wanted int) (stop func() crowd) {
	ctx, cancel := context.WithCancel(f.t.Context())
	var wg sync.WaitGroup
	var c crowd
	wg.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		known := map[int]bool{}
		for ; ctx.Err() == nil; <-tick.C {
			n := len(workers(f.pid, known))
			c.samples++
			c.most = max(c.most, n)
			c.sum += min(n, wanted)
		}
	})
	wg.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for ; ctx.Err() == nil; <-tick.C {
			snap, err := f.snapshot()
			if err != nil {
				continue
			}
			n := 0
			for _, w := range snap.Workers {
				if w.PID != nil {
					n++
				}
			}
			c.listed = max(c.listed, n)
		}
	})
	finish := func() { cancel(); wg.Wait() }
	f.t.Cleanup(finish)
	return func() crowd { finish(); return c }
}

// workers returns the live children of preforkd that run a worker's command, zombies not counted. known remembers them from
// one call to the next: a process that is being killed loses its environment before it ends.
func workers(pid int, known map[int]bool) []int {
	var list []int
	for _, child := range kernelChildren(pid) {
		p, ok := look(child)
		if !ok || p.parent != pid || p.state == "Z" || p.state == "X" {
			continue
		}
		if !known[child] {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", child))
			if err != nil || !bytes.Contains(text, []byte("\x00PREFORKD_WORKER_ID=")) {
				continue // it has not become the command yet, or is a helper of preforkd's own
			}
			known[child] = true
		}
		list = append(list, child)
	}
	return list
}

// kernelChildren is the kernel's own list, thread by thread: much cheaper than a look at every process.
func kernelChildren(pid int) []int {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	var list []int
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for field := range bytes.FieldsSeq(text) {
			var child int
			if _, err := fmt.Sscan(string(field), &child); err == nil {
				list = append(list, child)
			}
		}
	}
	return list
}

// nobodyElse checks that preforkd has no child but its ready workers: no orphan, no zombie.
func (f *fleet) nobodyElse(t *testing.T, wanted int) {
	t.Helper()
	within(t, patience, "preforkd has no child but its workers", func() bool {
		list := children(t, f.pid)
		for _, p := range list {
			if p.state == "Z" {
				return false
			}
		}
		return len(list) == wanted
	})
}
