// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// defaultPath is where execvp(3) looks when there is no PATH.
const defaultPath = "/bin:/usr/bin"

// LookPath finds a command as execvp(3) does: one with a slash is a path, relative to the present directory; any other
// is looked up in the PATH of env. The error is the errno that execve would give: ENOENT, EACCES …
func LookPath(command string, env []string) (string, error) {
	return LookPathIn("", command, env)
}

// LookPathIn is LookPath for a worker that will run in dir.
func LookPathIn(dir, command string, env []string) (string, error) {
	if strings.Contains(command, "/") {
		return command, executable(dir, command)
	}
	path := defaultPath
	for _, kv := range env {
		if value, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = value
		}
	}
	var found error = unix.ENOENT
	if command == "" {
		return "", found
	}
	for place := range strings.SplitSeq(path, ":") {
		candidate := command // as execvp calls it in the empty place, which is the working directory
		if place != "" {
			candidate = place + "/" + command // not filepath.Join: a/.. is not . where a is a symbolic link
		}
		err := executable(dir, candidate)
		if err == nil {
			return candidate, nil
		}
		switch {
		case errors.Is(err, unix.EACCES):
			found = err // as execvp: keep looking, but say so when nothing better is found
		case !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR):
			return "", err
		}
	}
	return "", found
}

// executable tells whether path is a file that this process may execute. The kernel has the last word, at execve.
func executable(dir, path string) error {
	if dir != "" && !filepath.IsAbs(path) {
		path = dir + "/" + path
	}
	info, err := os.Stat(path)
	if err != nil {
		if e, ok := errors.AsType[*os.PathError](err); ok {
			return e.Err
		}
		return err
	}
	if !info.Mode().IsRegular() {
		return unix.EACCES
	}
	return unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS)
}
