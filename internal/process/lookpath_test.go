// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package process

// Finding a command, compared with what execvp(3) of the C library does: env(1) calls it.

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestACommandIsFoundWhereExecvpFindsIt(t *testing.T) {
	dir := temp(t)
	for _, d := range []string{"/a", "/b", "/closed", "/deep", "/deep/er", "/a/folder", "/b/folder"} {
		if err := os.Mkdir(dir+d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	const script = "#!/bin/sh\necho $0\n" // says by which path it was found
	for _, path := range []string{"/a/both", "/b/both", "/b/second", "/b/plain", "/here", "/b/folder/x", "/deep/up"} {
		write(t, 0o755, dir+path, script)
	}
	write(t, 0o644, dir+"/a/plain", script)
	write(t, 0o644, dir+"/a/only-plain", script)
	write(t, 0o755, dir+"/file", script)
	if err := unix.Mkfifo(dir+"/a/second", 0o755); err != nil {
		t.Fatal(err)
	}
	// link/.. is deep, not the directory that holds the link.
	if err := errors.Join(os.Symlink("deep/er", dir+"/link"), os.Symlink("loop", dir+"/a/loop")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, command string }{
		{dir + "/a:" + dir + "/b", "both"},
		{dir + "/b:" + dir + "/a", "both"},
		{dir + "/a:" + dir + "/b", "second"},           // a FIFO comes first
		{dir + "/a:" + dir + "/b", "plain"},            // not executable in a, so b
		{dir + "/a:" + dir + "/b", "only-plain"},       // EACCES, not ENOENT
		{dir + "/a", "folder"},                         // EACCES
		{dir + "/a", "nothing"},                        // ENOENT
		{dir + "/a", "loop"},                           // a link to itself
		{dir + "/file:" + dir + "/none:./b", "second"}, // ENOTDIR and ENOENT go on; a relative place
		{":" + dir + "/a", "here"},                     // an empty place is the working directory
		{dir + "/a:", "here"},
		{dir + "/a::" + dir + "/b", "here"},
		{"", "here"},
		{"a:b", "both"},
		{"link/..", "up"},
		{dir + "/b/", "second"},
		{dir + "/a", "./here"},
		{dir + "/a", "b/second"},
		{dir + "/a", dir + "/b/second"},
		{dir + "/a", "./a/plain"},
		{dir + "/a", "./none"},
		{dir + "/a", "file/x"},
		{dir + "/a", "./a"},
		{dir + "/a", "link/../up"},
		{dir + "/a", "sleep"},
	} {
		want, wantErr := execvp(t, dir, c.command, "PATH="+c.path)
		have, err := LookPathIn(dir, c.command, []string{"X=y", "PATH=/nonsense", "PATH=" + c.path})
		if !errors.Is(err, wantErr) || err == nil && have != want {
			t.Errorf("%q in PATH=%s: %q %v, execvp has %q %v", c.command, c.path, have, err, want, wantErr)
		}
		t.Chdir(dir)
		if here, err2 := LookPath(c.command, []string{"PATH=" + c.path}); here != have || !errors.Is(err2, err) {
			t.Errorf("%q in PATH=%s, from inside: %q %v, from outside %q %v", c.command, c.path, here, err2, have, err)
		}
	}
}

func TestWithoutAPathTheStandardOneIsSearched(t *testing.T) {
	if path, err := LookPath("sh", []string{"HOME=/"}); err != nil || !strings.HasSuffix(path, "bin/sh") {
		t.Errorf("it found %q: %v", path, err)
	}
	if path, err := LookPath("", []string{"PATH=/bin"}); !errors.Is(err, unix.ENOENT) {
		t.Errorf("for an empty command it found %q: %v", path, err)
	}
}

// execvp runs command in dir and returns the path by which it was found, or why it was not.
func execvp(t *testing.T, dir, command, path string) (string, error) {
	t.Helper()
	cmd := exec.Command("/usr/bin/env", "-i", path, command)
	cmd.Dir = dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err == nil {
		return strings.TrimSuffix(stdout.String(), "\n"), nil
	}
	for _, errno := range []syscall.Errno{unix.ENOENT, unix.EACCES, unix.ENOTDIR, unix.ELOOP} {
		if strings.Contains(strings.ToLower(stderr.String()), errno.Error()) {
			return "", errno
		}
	}
	t.Fatalf("%s: %v: %s", command, err, stderr.String())
	return "", nil
}

func TestEveryDescriptorFromANumberOnIsClosedAtExec(t *testing.T) {
	for name, f := range map[string]func(int) error{"close_range": closeOnExecFrom, "without it": closeOnExecListed} {
		low, high := stray(t, 500), stray(t, 600)
		if err := f(600); err != nil {
			t.Fatal(err)
		}
		for fd, want := range map[int]int{low: 0, high: unix.FD_CLOEXEC} {
			if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags != want {
				t.Errorf("%s: descriptor %d has flags %d, want %d: %v", name, fd, flags, want, err)
			}
		}
	}
}
