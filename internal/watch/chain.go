// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package watch

// This file walks a path as the kernel does, to find what decides where it leads.

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const maxLinks = 40 // as many as the kernel follows (path_resolution(7))

// follow returns the directory entries ("directory/name", the directory without links) that a path depends on: each
// symbolic link on the way and the file itself, or where the way ends, the first name that is missing. Directories that
// are no links are left out: they are watched themselves, as long as they lead somewhere.
func follow(path string) (entries []string) {
	rest := strings.Split(path, "/")
	at := "/"
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		if name == "" || name == "." {
			continue
		}
		if name == ".." {
			at = filepath.Dir(at)
			continue
		}
		next := filepath.Join(at, name)
		info, err := os.Lstat(next)
		switch {
		case err != nil:
			return append(entries, next)
		case info.Mode()&fs.ModeSymlink != 0:
			entries = append(entries, next)
			target, err := os.Readlink(next)
			if links++; err != nil || links > maxLinks {
				return entries
			}
			if filepath.IsAbs(target) {
				at = "/"
			}
			rest = append(strings.Split(target, "/"), rest...)
		case info.IsDir():
			at = next
		default:
			return append(entries, next)
		}
	}
	return append(entries, at) // a directory
}
