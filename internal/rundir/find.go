// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package rundir

// Finding a running instance, for the verbs.

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Find returns the path of the control socket of the instance called name, or of the one in the directory dir when
// that is not empty. It fails with ErrNoInstance, and a text that lists the live ones, when none runs there.
func Find(name, dir string) (string, error) {
	if dir != "" {
		path, err := filepath.Abs(dir)
		if err == nil && live(path) {
			return filepath.Join(path, controlName), nil
		}
		return "", failf(ErrNoInstance, "cannot find an instance in %s: none runs there", dir)
	}
	if name == "" {
		name = DefaultName
	}
	return findIn(bases(), name)
}

// findIn is Find by name among the instances in the given folders.
func findIn(places []string, name string) (string, error) {
	if instanceName.MatchString(name) {
		for _, base := range places {
			if path := filepath.Join(base, name); live(path) {
				return filepath.Join(path, controlName), nil
			}
		}
	}
	return "", failf(ErrNoInstance, "cannot find instance %q: %s", name, running(places))
}

// running says in words which instances live in the given folders.
func running(places []string) string {
	var names []string
	for _, base := range places {
		entries, err := os.ReadDir(base)
		if err != nil {
			continue
		}
		for _, entry := range entries {
			if live(filepath.Join(base, entry.Name())) {
				names = append(names, entry.Name())
			}
		}
	}
	if len(names) == 0 {
		return "none is running in " + strings.Join(places, " or ") + " (--run-dir names another place)"
	}
	slices.Sort(names)
	return "running here: " + strings.Join(names, ", ")
}

// live tells whether a process holds the lock of the run dir at path.
func live(path string) bool {
	file, err := os.Open(filepath.Join(path, lockName))
	if err != nil {
		return false
	}
	defer file.Close()
	return locked(file)
}
