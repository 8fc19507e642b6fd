// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Figures read from /proc by these tests themselves, to hold against what preforkd says.

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const mib = 1 << 20

// process is what these tests need of /proc/PID/stat.
type process struct {
	pid, parent int
	state       string // R, S, Z …
}

// look reads a process; false when it is gone.
func look(pid int) (process, bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, false
	}
	// The name may contain anything, so what follows it begins at the last bracket.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	parent, err := strconv.Atoi(fields[1])
	return process{pid, parent, fields[0]}, err == nil
}

// left tells whether a process is there, zombies not counted: they hold nothing but their number.
func left(pid int) bool {
	p, ok := look(pid)
	return ok && p.state != "Z" && p.state != "X"
}

func pids(t *testing.T) []int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var list []int
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			list = append(list, pid)
		}
	}
	return list
}

// children returns every child of parent, zombies included.
func children(t *testing.T, parent int) []process {
	t.Helper()
	var list []process
	for _, pid := range pids(t) {
		if p, ok := look(pid); ok && p.parent == parent {
			list = append(list, p)
		}
	}
	return list
}

// marked returns the processes whose environment has mark. Zombies have none.
func marked(t *testing.T, mark string) []int {
	t.Helper()
	var list []int
	for _, pid := range pids(t) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err == nil && bytes.Contains(append([]byte{0}, text...), []byte("\x00"+mark+"\x00")) {
			list = append(list, pid)
		}
	}
	return list
}

// kilobytes reads a line "KEY: N kB" of a file in /proc, in bytes.
func kilobytes(t *testing.T, file, key string) int64 {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n << 10
		}
	}
	t.Fatalf("%s has no %s", file, key)
	return 0
}

// maps tells whether a process has a segment of preforkd's mapped.
func maps(t *testing.T, pid int) bool {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Contains(text, []byte("/memfd:"))
}

func status(t *testing.T, pid int, key string) int64 {
	t.Helper()
	return kilobytes(t, fmt.Sprintf("/proc/%d/status", pid), key)
}

// links are what the descriptors of a process lead to, sorted.
func links(t *testing.T, pid int) []string {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var targets []string
	for _, entry := range list {
		if target, err := os.Readlink(filepath.Join(dir, entry.Name())); err == nil {
			targets = append(targets, target)
		}
	}
	slices.Sort(targets)
	return targets
}

// entries counts what is in /proc/PID/NAME: descriptors (fd), threads (task).
func entries(t *testing.T, pid int, name string) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/%s", pid, name))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// blob writes size bytes without any pattern to a new file and returns its path and digest.
func blob(t *testing.T, size int64) (path, digest string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "blob.bin")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.New()
	to := bufio.NewWriterSize(file, mib)
	_, err = io.CopyN(io.MultiWriter(to, hash), rand.NewChaCha8([32]byte{1}), size)
	for _, finish := range []func() error{to.Flush, file.Close} {
		if e := finish(); err == nil {
			err = e
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return path, hex.EncodeToString(hash.Sum(nil))
}
