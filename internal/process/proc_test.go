// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package process

// What /proc tells about a process.

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// status is a field of /proc/PID/status.
func status(t *testing.T, pid int, field string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	return statusField(t, string(text), field)
}

func statusField(t *testing.T, text, field string) string {
	t.Helper()
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.Join(strings.Fields(value), " ")
		}
	}
	t.Fatalf("no field %s in %s", field, text)
	return ""
}

// list reads a file of /proc whose entries end with a zero byte.
func list(t *testing.T, pid int, file string) []string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
}

// descriptors lists what a process has open, as "NUMBER TARGET". The one that lists ours is gone by then.
func descriptors(pid int) []string {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, _ := os.ReadDir(dir)
	var all []string
	for _, e := range entries {
		if link, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil {
			all = append(all, e.Name()+" "+link)
		}
	}
	slices.SortFunc(all, func(a, b string) int {
		x, _, _ := strings.Cut(a, " ")
		y, _, _ := strings.Cut(b, " ")
		m, _ := strconv.Atoi(x)
		n, _ := strconv.Atoi(y)
		return m - n
	})
	return all
}

// noLeak runs f as a test and fails when it leaves a descriptor or a child behind.
func noLeak(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	p := spawned(t, command("true")) // once before counting: the thread and the netpoller have descriptors of their own
	wait(t, p.Gone())
	wait(t, p.copied)
	before := descriptors(os.Getpid())
	t.Run("", f)
	after := descriptors(os.Getpid())
	// The goroutine that copies a log closes its pipe on its own account.
	for end := time.Now().Add(5 * time.Second); !slices.Equal(before, after) && time.Now().Before(end); {
		<-time.After(time.Millisecond)
		after = descriptors(os.Getpid())
	}
	if !slices.Equal(before, after) {
		t.Errorf("descriptors before:\n%s\nafter:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	if left := children(t); len(left) > 0 {
		t.Errorf("children are left: %v", left)
	}
}

// children lists the children of this process, zombies included.
func children(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, file := range files {
		text, _ := os.ReadFile(file) // a thread may have ended
		all = append(all, strings.Fields(string(text))...)
	}
	return all
}
