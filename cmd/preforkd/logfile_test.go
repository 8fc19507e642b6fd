// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

// The log file: opened, reopened under load, stuck, full.

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func openTestSink(t *testing.T, path string) *sink {
	t.Helper()
	s, err := openSink(path, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func writeLine(t *testing.T, s *sink, line string) {
	t.Helper()
	if n, err := io.WriteString(s, line+"\n"); n != len(line)+1 || err != nil {
		t.Fatal(n, err)
	}
}

func wantText(t *testing.T, path, want string) {
	t.Helper()
	if text, err := os.ReadFile(path); string(text) != want || err != nil {
		t.Errorf("%s has %q, want %q: %v", path, text, want, err)
	}
}

func TestALogFileIsAddedToAndReopened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	first := openTestSink(t, path)
	writeLine(t, first, "one")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	s := openTestSink(t, path)
	writeLine(t, s, "two")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	writeLine(t, s, "three")
	if err := s.Reopen(); err != nil {
		t.Fatal(err)
	}
	writeLine(t, s, "four")
	wantText(t, path+".1", "one\ntwo\nthree\n")
	wantText(t, path, "four\n")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&^0o640 != 0 {
		t.Errorf("its mode is %v: %v", info.Mode(), err)
	}
}

func TestAReopenThatFailsKeepsTheOldFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	s := openTestSink(t, path)
	if err := errors.Join(os.Rename(path, path+".1"), os.Mkdir(path, 0o755)); err != nil {
		t.Fatal(err)
	}
	want := "cannot reopen log file " + path + ": is a directory"
	if err := s.Reopen(); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	writeLine(t, s, "still here")
	wantText(t, path+".1", "still here\n")
}

func TestALogFileThatCannotBeOpenedIsAnError(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, why := range map[string]string{
		dir:                             "is a directory",
		filepath.Join(dir, "no", "log"): "no such file or directory",
		fifo:                            "no such device or address", // and does not wait for a reader
	} {
		_, err := openSink(path, io.Discard)
		if want := "cannot open log file " + path + ": " + why + "; give"; err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s …", err, want)
		}
	}
}

func TestNoLineIsLostWhileTheLogFileIsReopened(t *testing.T) {
	const files, lines = 50, 20000
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	s := openTestSink(t, path)
	written := make(chan struct{})
	go func() {
		defer close(written)
		for i := range lines {
			if _, err := fmt.Fprintln(s, i); err != nil {
				t.Error(err)
			}
		}
	}()
	for i := range files {
		if err := errors.Join(os.Rename(path, fmt.Sprintf("%s.%02d", path, i)), s.Reopen()); err != nil {
			t.Error(err)
		}
	}
	<-written
	all, err := filepath.Glob(path + "*")
	if err != nil || len(all) != files+1 {
		t.Fatal(len(all), err)
	}
	// The newest, "log", comes first.
	var text []byte
	for _, file := range append(all[1:], all[0]) {
		part, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, part...)
	}
	i := 0
	for line := range bytes.Lines(text) {
		if string(line) != fmt.Sprintln(i) {
			t.Fatalf("line %d is %q", i, line)
		}
		i++
	}
	if i != lines {
		t.Errorf("%d lines are there, want %d", i, lines)
	}
}

func TestReopenHelpsALogFileThatIsStuck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	s := openTestSink(t, path)
	long := bytes.Repeat([]byte("x"), 1<<20) // a FIFO takes 64 KiB
	long[len(long)-1] = '\n'
	written := make(chan error, 1)
	go func() {
		_, err := s.Write(long)
		written <- err
	}()
	one := make([]byte, 1)
	for end := time.Now().Add(30 * time.Second); ; { // until it is being written
		if n, _ := reader.Read(one); n == 1 || time.Now().After(end) {
			break
		}
	}
	if err := errors.Join(os.Remove(path), s.Reopen()); err != nil {
		t.Fatal(err)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
	text, err := os.ReadFile(path)
	if err != nil || !bytes.HasSuffix(long, text) || len(text) < len(long)/2 {
		t.Errorf("%d bytes went to the new file: %v", len(text), err)
	}
}

// half takes half of what it gets, once.
type half struct {
	bytes.Buffer
	done bool
}

func (h *half) Write(p []byte) (int, error) {
	if h.done {
		return h.Buffer.Write(p)
	}
	h.done = true
	n, _ := h.Buffer.Write(p[:len(p)/2])
	return n, unix.ENOSPC
}

func TestALineThatWasCutDoesNotSpoilTheNext(t *testing.T) {
	var stderr half
	s, err := openSink("", &stderr)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.WriteString(s, "123456\n"); n != 3 || !errors.Is(err, unix.ENOSPC) {
		t.Error(n, err)
	}
	writeLine(t, s, "whole")
	writeLine(t, s, "again")
	if text := stderr.String(); text != "123\nwhole\nagain\n" {
		t.Errorf("%q", text)
	}
	if err := errors.Join(s.Reopen(), s.Close()); err != nil {
		t.Error(err)
	}
}
