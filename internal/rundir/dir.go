// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package rundir

// An open run dir: where it is, the links in it, and its end.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
)

// DefaultName is the name of an instance that was given none.
const DefaultName = "default"

// The entries of a run dir. maxSocketPath is what the kernel's sun_path holds besides its final zero.
const (
	lockName      = "lock"
	controlName   = "control.sock"
	dataName      = "data"
	maxSocketPath = 107
)

var (
	instanceName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	linkName     = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$`)
)

// Dir is the run dir of this process, locked. Its methods may be called from any goroutine.
type Dir struct {
	name, path, notice string

	made bool     // the directory was made by Open
	ours bool     // it and its parent are preforkd's, not the user's
	root *os.Root // pins the directory: nothing is opened through its path again
	lock *os.File

	mu     sync.Mutex
	closed bool
}

// Name is the instance's name: Options.Name, or with a number behind it when that was taken.
func (d *Dir) Name() string { return d.name }

// Path is the directory, absolute.
func (d *Dir) Path() string { return d.path }

// Notice is a sentence that the user should see as a warning, or empty: the name wanted was taken.
func (d *Dir) Notice() string { return d.notice }

// DataPath is the absolute path of the link that SetLink makes for name.
func (d *Dir) DataPath(name string) string { return filepath.Join(d.path, dataName, name) }

// ControlPath is where the control socket belongs. It fails with ErrUnavailable when the path is longer than a unix
// socket's may be; the rest of the run dir works all the same. Close removes the socket.
func (d *Dir) ControlPath() (string, error) {
	path := filepath.Join(d.path, controlName)
	if len(path) > maxSocketPath {
		return "", failf(ErrUnavailable, "cannot make the control socket: %s is %d bytes long and the kernel takes %d; "+
			"give a shorter --run-dir", path, len(path), maxSocketPath)
	}
	return path, nil
}

// SetLink makes data/name point at target, or turns it there in one step when it exists. It fails with ErrUnavailable
// when the file system refuses: the links are then as they were.
func (d *Dir) SetLink(name, target string) error {
	if !linkName.MatchString(name) {
		return fmt.Errorf("cannot link %q: not a plain file name", name)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	fresh, final := filepath.Join(dataName, "."+name+".new"), filepath.Join(dataName, name)
	err := d.root.Symlink(target, fresh)
	if err == nil {
		err = d.root.Rename(fresh, final)
	}
	if err != nil {
		d.root.Remove(fresh) // nothing to remove, or nothing to be done about it
		return failf(ErrUnavailable, "cannot link %s: %v", d.DataPath(name), reason(err))
	}
	return nil
}

// RemoveLink removes data/name. A link that does not exist is no error.
func (d *Dir) RemoveLink(name string) error {
	if !linkName.MatchString(name) {
		return fmt.Errorf("cannot remove the link %q: not a plain file name", name)
	}
	if err := d.remove(filepath.Join(dataName, name)); err != nil {
		return failf(ErrUnavailable, "cannot remove a link in %s: %v", d.path, err)
	}
	return nil
}

// Close removes what was made here and gives the lock back; the directory goes too unless it was there before. Only the
// first call does anything. What is not preforkd's stays, and the directory with it.
func (d *Dir) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	err := errors.Join(d.sweep(), d.remove(dataName))
	if err == nil { // else the lock file stays: it marks data/ as preforkd's for the next instance
		err = d.remove(lockName)
	}
	// Neighbours may live in the parent, and a newcomer may be here already as the lock file is gone: then this fails.
	if d.made || d.ours {
		syscall.Rmdir(d.path)
	}
	if d.ours {
		syscall.Rmdir(filepath.Dir(d.path))
	}
	if err = errors.Join(err, d.root.Close(), d.lock.Close()); err != nil {
		return fmt.Errorf("cannot clean up the run dir %s: %v", d.path, reason(err))
	}
	return nil
}

// remove removes an entry of the directory that need not be there.
func (d *Dir) remove(entry string) error {
	if err := d.root.Remove(entry); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", entry, reason(err))
	}
	return nil
}
