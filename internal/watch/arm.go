// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package watch

// This file keeps inotify on the directories that matter at present.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/fsnotify/fsnotify"
)

// node tells a directory from another one at its path.
type node struct{ dev, ino uint64 }

// arm watches all directories that decide where the paths lead, and only these, and looks at every file.
func (k *keeper) arm() {
	var trouble error
	// What was made before a new directory was watched brings no event. It shows in another way through it.
	fresh := true
	for range 4 {
		dirs := k.ways()
		fresh, trouble = k.add(dirs)
		k.remove(dirs)
		if !fresh {
			break
		}
	}
	if fresh { // it changes faster than we look
		k.again()
	}
	k.poor = trouble != nil
	if k.poor && !k.warned {
		k.warned = true
		k.log.Warn("cannot watch all directories by inotify, their files are looked at now and then",
			"every", k.fast, "error", trouble)
	}
	for _, f := range k.files {
		f.look()
	}
}

// ways follows every path anew.
func (k *keeper) ways() (dirs map[string]bool) {
	dirs = map[string]bool{}
	wanted := map[string][]*file{}
	for _, f := range k.files {
		for _, entry := range follow(f.path) {
			dir := filepath.Dir(entry)
			dirs[dir] = true
			wanted[entry] = append(wanted[entry], f)
			wanted[dir] = append(wanted[dir], f) // the directory itself goes or comes
		}
	}
	k.wanted = wanted
	return dirs
}

// add tells too whether some of the directories were not watched before.
func (k *keeper) add(dirs map[string]bool) (fresh bool, trouble error) {
	if k.notify == nil && len(dirs) > 0 {
		notify, err := fsnotify.NewWatcher()
		if err != nil {
			return false, advise(err)
		}
		k.notify = notify
		go k.drain(notify.Errors)
	}
	for dir := range dirs {
		now := nodeOf(dir)
		was := k.armed[dir]
		if was != (node{}) && was != now {
			_ = k.notify.Remove(dir) // still on the old one, if that lives on elsewhere
		}
		fresh = fresh || was != now
		// Always: inotify drops a watch by itself when its directory is removed or moved.
		switch err := k.notify.Add(dir); {
		case err == nil:
			k.armed[dir] = now
			fresh = fresh || nodeOf(dir) != now // another one has come into its place
		case errors.Is(err, fs.ErrNotExist): // it went a moment ago: the way is another one, and nobody may be watching it
			delete(k.armed, dir)
			fresh = true
		default:
			delete(k.armed, dir)
			trouble = advise(fmt.Errorf("%s: %w", dir, err))
		}
	}
	return fresh, trouble
}

func (k *keeper) remove(dirs map[string]bool) {
	for dir := range k.armed {
		if !dirs[dir] {
			_ = k.notify.Remove(dir) // it may have gone with its directory
			delete(k.armed, dir)
		}
	}
}

// drain takes fsnotify's errors at once: it may hold the lock that Add and Remove need while it waits for that.
func (k *keeper) drain(errs <-chan error) {
	for range errs {
		k.again()
	}
}

// again has everything looked at anew, soon.
func (k *keeper) again() {
	select {
	case k.lost <- struct{}{}:
	default:
	}
}

func (k *keeper) disarm() {
	if k.notify != nil {
		_ = k.notify.Close()
	}
}

// advise says which limit was met. inotify's own are per user.
func advise(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%v: raise the limit by sysctl fs.inotify.max_user_watches", err)
	case errors.Is(err, syscall.EMFILE):
		return fmt.Errorf("%v: raise the limit by sysctl fs.inotify.max_user_instances, or that of open files", err)
	}
	return err
}

func nodeOf(dir string) node {
	info, err := os.Stat(dir)
	if err != nil {
		return node{}
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return node{}
	}
	return node{dev: uint64(st.Dev), ino: st.Ino} //nolint:unconvert // Dev's type depends on the architecture
}
