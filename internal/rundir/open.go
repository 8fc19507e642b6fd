// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package rundir

// Entering a directory: where it may be, that it is ours, and the lock.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// Options says which directory is wanted.
type Options struct {
	Name  string // of the instance; empty means DefaultName
	Given bool   // Name was given: when it is taken Open fails instead of trying NAME-2, NAME-3, …
	Dir   string // --run-dir: the directory of this very instance; empty means the place that Open's comment tells
}

// Open makes or enters the run dir and locks it: Options.Dir, else /run/preforkd/NAME for root, else
// $XDG_RUNTIME_DIR/preforkd/NAME, else preforkd-UID/NAME in the temporary folder. What a killed instance left there is
// removed. It fails with ErrTaken when a live instance has it, with ErrUnavailable when there can be none.
func Open(o Options) (*Dir, error) {
	if o.Name == "" {
		o.Name = DefaultName
	}
	if !instanceName.MatchString(o.Name) {
		return nil, fmt.Errorf("cannot name an instance %q: use letters, digits, dots, - and _, 64 at most", o.Name)
	}
	if o.Dir != "" {
		path, err := filepath.Abs(o.Dir)
		if err != nil {
			return nil, failf(ErrUnavailable, "cannot use the run dir %s: %v", o.Dir, err)
		}
		return claim(path, o.Name, false)
	}
	return openIn(bases()[0], o)
}

// openIn is Open without Options.Dir, in the folder base.
func openIn(base string, o Options) (*Dir, error) {
	d, err := claim(filepath.Join(base, o.Name), o.Name, true)
	for n := 2; n < 100 && errors.Is(err, ErrTaken) && !o.Given; n++ {
		taken, name := err, fmt.Sprintf("%s-%d", o.Name, n)
		if d, err = claim(filepath.Join(base, name), name, true); err == nil {
			d.notice = fmt.Sprintf("%v; this instance is %q (--name gives it a name of its own)", taken, name)
		}
	}
	return d, err
}

// bases returns the folders in which instances without --run-dir live, the preferred one first. A verb that is started
// without XDG_RUNTIME_DIR, or with another user's, still finds what lives in the temporary folder.
func bases() []string {
	uid := os.Geteuid()
	if uid == 0 {
		return []string{"/run/preforkd"}
	}
	var list []string
	if xdg := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(xdg) {
		if info, err := os.Stat(xdg); err == nil && info.IsDir() && owner(info) == uid {
			list = append(list, filepath.Join(xdg, "preforkd"))
		}
	}
	return append(list, filepath.Join(os.TempDir(), "preforkd-"+strconv.Itoa(uid)))
}

// errVanished says that the last instance took the directory away while we entered it: try again.
var errVanished = errors.New("vanished")

// claim enters path and locks it. ours means that path and its parent are preforkd's: made when missing, removed at the
// end.
func claim(path, name string, ours bool) (*Dir, error) {
	for range 100 {
		d, err := try(path, name, ours)
		switch {
		case err == nil:
			return d, nil
		case errors.Is(err, ErrTaken):
			return nil, err
		case !errors.Is(err, errVanished):
			return nil, failf(ErrUnavailable, "cannot use the run dir %s: %v", path, reason(err))
		}
	}
	return nil, failf(ErrUnavailable, "cannot use the run dir %s: it vanishes again and again", path)
}

// try makes one attempt of claim.
func try(path, name string, ours bool) (*Dir, error) {
	if ours {
		parent, _, err := enter(filepath.Dir(path))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Dir(path), reason(err))
		}
		parent.Close() // opened only to be proved
	}
	root, made, err := enter(path)
	if ours {
		err = orVanished(err) // its parent was there a moment ago
	}
	if err != nil {
		return nil, err
	}
	d := &Dir{name: name, path: path, made: made, ours: ours, root: root}
	if err := d.acquire(); err != nil {
		root.Close()
		return nil, err
	}
	if err := d.prepare(); err != nil {
		d.lock.Close()
		root.Close()
		return nil, err
	}
	return d, nil
}

// enter opens a directory, made with mode 0755 when it is missing, and proves that it is no symbolic link, belongs to
// us and is writable by nobody else.
func enter(path string) (root *os.Root, made bool, err error) {
	switch err := os.Mkdir(path, 0o755); {
	case err == nil:
		made = true
	case !errors.Is(err, fs.ErrExist):
		return nil, false, err
	}
	named, err := os.Lstat(path)
	if err != nil {
		return nil, false, orVanished(err)
	}
	if !named.IsDir() {
		return nil, false, errors.New("it is not a directory")
	}
	if root, err = os.OpenRoot(path); err != nil {
		return nil, false, orVanished(err)
	}
	err = prove(root, named)
	if err == nil && made {
		err = root.Chmod(".", 0o755) // whatever the umask: workers of another user read the links
	}
	if err != nil {
		root.Close()
		return nil, false, err
	}
	return root, made, nil
}

// prove checks what was opened, not what a name pointed at a moment ago.
func prove(root *os.Root, named fs.FileInfo) error {
	info, err := root.Stat(".")
	if err != nil {
		return err
	}
	switch {
	case !os.SameFile(info, named):
		return errVanished
	case owner(info) != os.Geteuid():
		return fmt.Errorf("it belongs to uid %d, not to uid %d", owner(info), os.Geteuid())
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("others may write it (mode %04o)", info.Mode().Perm())
	}
	return nil
}

func owner(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }

// orVanished turns "does not exist", said of something that existed a moment ago, into errVanished.
func orVanished(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errVanished
	}
	return err
}

// reason is an error without the call and the path, which the message around it names.
func reason(err error) error {
	switch e := err.(type) { //nolint:errorlint // only the outermost: what is wrapped deeper was said on purpose
	case *fs.PathError:
		return e.Err
	case *os.LinkError:
		return e.Err
	}
	return err
}
