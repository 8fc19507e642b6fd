// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package shm

// What the tests share: a segment, the count of open descriptors, and this binary again as another process.

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

const helperVar = "SHM_TEST_HELPER"

// nobody is a uid that owns nothing.
const nobody = 65534

func TestMain(m *testing.M) {
	name := os.Getenv(helperVar)
	if name == "" {
		os.Exit(m.Run())
	}
	helper := map[string]func() error{
		"refusals":    helpRefusals,
		"inherit":     helpInherit,
		"no-proc":     helpNoProc,
		"descriptors": helpDescriptors,
		"memory":      helpMemory,
		"fault":       helpFault,
		"lock":        helpLock,
		"no-huge":     helpNoHuge,
		"file-size":   helpFileSize,
	}[name]
	if helper == nil {
		helper = func() error { return fmt.Errorf("there is no helper %q", name) }
	}
	if err := helper(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// child is this test binary as the process name, with files as its descriptors from 3 and uid as its user if not 0.
func child(t *testing.T, name string, uid uint32, files ...*os.File) *exec.Cmd {
	t.Helper()
	// By this path another uid can run a binary that lies in a directory of root's.
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	// The race detector would make every process sleep for a second at its end.
	cmd.Env = append(os.Environ(), helperVar+"="+name, "GORACE=atexit_sleep_ms=0")
	cmd.ExtraFiles = files
	if uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	return cmd
}

// run returns what a child printed; it must end well.
func run(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	return string(out)
}

// empty is a Writer that holds nothing.
func empty(t testing.TB, o Options) *Writer {
	t.Helper()
	w, err := Create("test", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

// filled is a Writer that holds data.
func filled(t testing.TB, data []byte) *Writer {
	t.Helper()
	w := empty(t, Options{})
	if n, err := w.Write(data); n != len(data) || err != nil {
		t.Fatalf("wrote %d of %d: %v", n, len(data), err)
	}
	return w
}

// sealed is a Segment that holds data.
func sealed(t testing.TB, data []byte) *Segment {
	t.Helper()
	s, err := filled(t, data).Seal()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// content reads a segment through a descriptor of its own.
func content(t testing.TB, s *Segment) []byte {
	t.Helper()
	f, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := make([]byte, s.Size()+1)
	n, err := io.ReadFull(f, got)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("read %d bytes of %d: %v", n, s.Size(), err)
	}
	return got[:n]
}

// noise is n bytes that do not repeat.
func noise(n int) []byte {
	out := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(out)
	return out
}

// pages rounds up to whole pages.
func pages(n int64) int64 {
	page := int64(os.Getpagesize())
	return (n + page - 1) / page * page
}

// open lists this process's descriptors as "NUMBER TARGET". The one that lists them is always gone by then.
func open(t testing.TB) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		if link, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			out = append(out, e.Name()+" "+link)
		}
	}
	return out
}

// noLeak fails the test if f leaves a descriptor or a mapping of a memfd behind.
func noLeak(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	t.Run("", func(t *testing.T) { f(t) }) // once before counting: the runtime opens its own on first use
	before := open(t)
	t.Run("", func(t *testing.T) { f(t) })
	after := open(t)
	if strings.Join(before, "\n") != strings.Join(after, "\n") {
		t.Errorf("descriptors before:\n%s\nafter:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(maps, []byte("/memfd:")) {
		t.Errorf("a memfd is still mapped:\n%s", maps)
	}
}
