// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package ready

// The verdict on fixtures of /proc (testdata/proc), and on processes that preforkd may not read.

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// tables are the numbers the fixtures use, so that they mean the same on every machine.
func tables(arch string) syscalls {
	switch arch {
	case "arm64":
		return syscalls{accept: 202, accept4: 242, poll: absent, ppoll: 73, selekt: absent, pselect6: 72}
	case "other":
		return syscalls{absent, absent, absent, absent, absent, absent}
	}
	return syscalls{accept: 43, accept4: 288, poll: 7, ppoll: 271, selekt: 23, pselect6: 270}
}

func TestFixturesOfProc(t *testing.T) {
	files, err := filepath.Glob("testdata/proc/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want, arch string
			var pids []int
			var inodes []uint64
			for line := range strings.Lines(string(archive.Comment)) {
				fields := strings.Fields(line)
				switch fields[0] {
				case "want":
					want = strings.Join(fields[1:], " ")
				case "arch":
					arch = fields[1]
				case "pids":
					for _, f := range fields[1:] {
						pids = append(pids, int(number(t, f, 10)))
					}
				case "inodes":
					for _, f := range fields[1:] {
						inodes = append(inodes, number(t, f, 10))
					}
				}
			}
			l := looker{proc: unpack(t, archive), inodes: inodes, numbers: tables(arch), walk: true}
			for look := range 2 { // the second look uses the buffers of the first
				s := l.look(pids)
				if s.verdict.String() != want {
					t.Errorf("look %d: %v (%v), want %s", look, s.verdict, s.err, want)
				}
				if (s.err != nil) != (s.verdict == Unknown) {
					t.Errorf("verdict %v with error %v", s.verdict, s.err)
				}
			}
		})
	}
}

// unpack writes a fixture as a directory and returns its path.
func unpack(t *testing.T, archive *txtar.Archive) string {
	t.Helper()
	proc := t.TempDir()
	for _, f := range archive.Files {
		path := filepath.Join(proc, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch {
		case filepath.Base(filepath.Dir(path)) == "fd":
			err = os.Symlink(strings.TrimSpace(string(f.Data)), path)
		case filepath.Base(path) == "mem":
			err = writeMemory(t, path, string(f.Data))
		default:
			err = os.WriteFile(path, f.Data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return proc
}

func writeMemory(t *testing.T, path, text string) error {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	for line := range strings.Lines(text) {
		address, bytes, _ := strings.Cut(line, " ")
		data, err := hex.DecodeString(strings.Join(strings.Fields(bytes), ""))
		if err != nil {
			return err
		}
		if _, err := f.WriteAt(data, int64(number(t, address, 16))); err != nil {
			return err
		}
	}
	return f.Close()
}

func number(t *testing.T, text string, base int) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(text, base, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
