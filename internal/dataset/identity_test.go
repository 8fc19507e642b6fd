// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestIdentityChangesWithTheFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(path, "one")
	spec := Spec{Name: "a", Source: path}
	first, ok := spec.Identity()
	if again, _ := spec.Identity(); !ok || again != first {
		t.Fatalf("the same file is %+v and then %+v", first, again)
	}
	for what, change := range map[string]func() error{
		"replaced by one of the same size and time": func() error {
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			write(path+".new", "two")
			if err := os.Chtimes(path+".new", info.ModTime(), info.ModTime()); err != nil {
				return err
			}
			return os.Rename(path+".new", path)
		},
		"touched": func() error { return os.Chtimes(path, time.Now(), time.Now().Add(time.Hour)) },
		"grown":   func() error { write(path, "three and more"); return nil },
	} {
		before, _ := spec.Identity()
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if after, ok := spec.Identity(); !ok || after == before {
			t.Errorf("%s, and still %+v", what, after)
		}
	}
}

func TestWhatCanBeLoadedAgain(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for source, want := range map[string]bool{
		"-": false, fifo: false, "cmd:cat x": true, filepath.Join(dir, "missing"): true, dir: true,
	} {
		spec := Spec{Name: "a", Source: source}
		if got := spec.Again(); got != want {
			t.Errorf("%s can be loaded again: %v, want %v", source, got, want)
		}
		if id, ok := spec.Identity(); source != dir && ok {
			t.Errorf("%s has an identity: %+v", source, id)
		}
	}
}
