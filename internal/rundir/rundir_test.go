// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package rundir

// The directory itself: where it is, who may have it, what is in it.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// tree lists what is under dir, by paths relative to it.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if rel, _ := filepath.Rel(dir, path); rel != "." {
			names = append(names, rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, " ")
}

func open(t *testing.T, o Options) *Dir {
	t.Helper()
	d, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestLinksAreMadeTurnedAndRemoved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	d := open(t, Options{Dir: dir})
	for _, target := range []string{"emb.v1.npy", "emb.v2.npy"} {
		if err := d.SetLink("emb.npy", target); err != nil {
			t.Fatal(err)
		}
		if got, err := os.Readlink(d.DataPath("emb.npy")); err != nil || got != target {
			t.Errorf("link = %q, %v, want %q", got, err, target)
		}
	}
	if got := tree(t, dir); got != "data data/emb.npy lock" {
		t.Errorf("holds %q", got)
	}
	if err := errors.Join(d.RemoveLink("emb.npy"), d.RemoveLink("emb.npy")); err != nil {
		t.Error(err)
	}
	if got := tree(t, dir); got != "data lock" {
		t.Errorf("holds %q after RemoveLink", got)
	}
}

// A reader that follows the link while it is turned always finds one of the two.
func TestALinkIsNeverMissingWhileItIsTurned(t *testing.T) {
	d := open(t, Options{Dir: filepath.Join(t.TempDir(), "run")})
	if err := d.SetLink("emb.npy", "0"); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	failed := make(chan error, 1)
	go func() {
		defer close(failed)
		for {
			if _, err := os.Readlink(d.DataPath("emb.npy")); err != nil {
				failed <- err
				return
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	for i := range 500 {
		if err := d.SetLink("emb.npy", strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	if err := <-failed; err != nil {
		t.Error(err)
	}
}

func TestLinkNamesStayInsideData(t *testing.T) {
	d := open(t, Options{Dir: filepath.Join(t.TempDir(), "run")})
	for _, name := range []string{"", ".", "..", ".hidden", "../lock", "a/b", "/etc/x", "a\nb", strings.Repeat("a", 201)} {
		if err := d.SetLink(name, "x"); err == nil || errors.Is(err, ErrUnavailable) {
			t.Errorf("SetLink(%q) = %v", name, err)
		}
		if err := d.RemoveLink(name); err == nil {
			t.Errorf("RemoveLink(%q) is accepted", name)
		}
	}
	if err := d.RemoveLink("lock"); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(d.Path(), "lock")); err != nil {
		t.Error(err)
	}
}

func TestTheDirectoryHasMode0755WhateverTheUmask(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	d := open(t, Options{Dir: filepath.Join(t.TempDir(), "run")})
	for name, want := range map[string]fs.FileMode{"": 0o755, "data": 0o755, "lock": 0o644} {
		if info, err := os.Stat(filepath.Join(d.Path(), name)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%q has mode %v (%v), want %v", name, info.Mode().Perm(), err, want)
		}
	}
}

func TestADirectoryThatIsNotSafeIsRefused(t *testing.T) {
	base := t.TempDir()
	for name, prepare := range map[string]func(dir string) error{
		"others may write it": func(dir string) error { return errors.Join(os.Mkdir(dir, 0o755), os.Chmod(dir, 0o777)) },
		"mode 0775":           func(dir string) error { return errors.Join(os.Mkdir(dir, 0o755), os.Chmod(dir, 0o775)) },
		"not a directory": func(dir string) error {
			return errors.Join(os.MkdirAll(base+"/real", 0o755), os.Symlink(base+"/real", dir))
		},
		"it is not a directory":       func(dir string) error { return os.WriteFile(dir, nil, 0o644) },
		"data that is not preforkd's": func(dir string) error { return os.MkdirAll(dir+"/data", 0o755) },
		"no such file":                func(string) error { return nil },
		"belongs to uid 65534": func(dir string) error {
			if os.Geteuid() != 0 {
				return errors.ErrUnsupported
			}
			return errors.Join(os.Mkdir(dir, 0o755), os.Chown(dir, 65534, 65534))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(base, strings.ReplaceAll(name, " ", "-"))
			if name == "no such file" {
				dir = filepath.Join(dir, "below")
			}
			if err := prepare(dir); errors.Is(err, errors.ErrUnsupported) {
				t.Skip("only root can give a directory away")
			} else if err != nil {
				t.Fatal(err)
			}
			before := tree(t, base)
			_, err := Open(Options{Dir: dir})
			if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), dir) {
				t.Errorf("Open = %v, want ErrUnavailable that says %q", err, name)
			}
			if after := tree(t, base); after != before {
				t.Errorf("Open changed %q to %q", before, after)
			}
		})
	}
}

func TestAGivenDirectoryKeepsWhatIsNotOurs(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "app.sock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d := open(t, Options{Dir: dir})
	note := filepath.Join(dir, "data", "note")
	if err := errors.Join(d.SetLink("emb", "/proc/1/fd/3"), os.WriteFile(note, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err == nil || !strings.Contains(err.Error(), "directory not empty") {
		t.Errorf("Close = %v, want it to tell about the file in data", err)
	}
	if got := tree(t, dir); got != "app.sock data data/note lock" {
		t.Errorf("left: %q", got)
	}
	again := open(t, Options{Dir: dir})
	if err := os.Remove(note); err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	if got := tree(t, dir); got != "app.sock" {
		t.Errorf("left at last: %q", got)
	}
}

func TestAPathTooLongForASocketIsToldWithItsLength(t *testing.T) {
	base := t.TempDir()
	pad := 107 - len(base) - len("/") - len("/control.sock")
	d := open(t, Options{Dir: filepath.Join(base, strings.Repeat("d", pad))})
	if path, err := d.ControlPath(); err != nil || len(path) != 107 {
		t.Errorf("ControlPath = %d bytes, %v", len(path), err)
	}
	d = open(t, Options{Dir: filepath.Join(base, strings.Repeat("d", pad+1))})
	if _, err := d.ControlPath(); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "108 bytes") {
		t.Errorf("ControlPath = %v, want ErrUnavailable", err)
	}
	if err := d.SetLink("emb", "x"); err != nil {
		t.Errorf("links do not work then: %v", err)
	}
}

func TestNamesThatAreNoFileNamesAreRefused(t *testing.T) {
	for _, name := range []string{"..", "a/b", "-x", ".x", "a b", strings.Repeat("n", 65)} {
		if _, err := Open(Options{Name: name}); err == nil || errors.Is(err, ErrUnavailable) || errors.Is(err, ErrTaken) {
			t.Errorf("Open(%q) = %v", name, err)
		}
		if _, err := Find(name, ""); !errors.Is(err, ErrNoInstance) {
			t.Errorf("Find(%q) = %v", name, err)
		}
	}
}

func TestInstancesLiveWhereTheUserSaysElseInTheTemporaryFolder(t *testing.T) {
	if os.Geteuid() == 0 {
		if got := bases(); len(got) != 1 || got[0] != "/run/preforkd" {
			t.Errorf("root's place is %q", got)
		}
		t.Skip("the rest is about other users")
	}
	base, temp := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", temp)
	t.Setenv("XDG_RUNTIME_DIR", base)
	d := open(t, Options{Name: "a"})
	if d.Path() != filepath.Join(base, "preforkd", "a") {
		t.Errorf("in %s", d.Path())
	}
	for _, unusable := range []string{"", "relative", "/proc/1", filepath.Join(base, "missing")} {
		t.Setenv("XDG_RUNTIME_DIR", unusable)
		d := open(t, Options{Name: "b"})
		if want := filepath.Join(temp, "preforkd-"+strconv.Itoa(os.Geteuid()), "b"); d.Path() != want {
			t.Errorf("with XDG_RUNTIME_DIR=%q in %s, want %s", unusable, d.Path(), want)
		}
		d.Close()
	}
	t.Setenv("XDG_RUNTIME_DIR", base)
	d = open(t, Options{Name: "c"})
	if path, err := Find("c", ""); err != nil || filepath.Dir(path) != d.Path() {
		t.Errorf("Find = %q, %v", path, err)
	}
}

func TestAFileSystemThatIsFullOrReadOnlyIsUnavailable(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount one")
	}
	full, readOnly := t.TempDir(), t.TempDir()
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread, and its mounts with it, ends here
		result <- errors.Join(unix.Unshare(unix.CLONE_NEWNS|unix.CLONE_FS),
			unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount("tmpfs", full, "tmpfs", 0, "nr_inodes=5"), // the root, the directory, data, the lock, one link
			unix.Mount("tmpfs", readOnly, "tmpfs", unix.MS_RDONLY, ""))
		if _, err := Open(Options{Dir: readOnly + "/run"}); !errors.Is(err, ErrUnavailable) {
			result <- fmt.Errorf("Open on a read-only file system = %w, want ErrUnavailable", err)
			return
		}
		d, err := Open(Options{Dir: full + "/run"})
		if err == nil {
			err = d.SetLink("a", "1")
		}
		if err != nil {
			result <- err
			return
		}
		err = d.SetLink("a", "2")
		if target, _ := os.Readlink(d.DataPath("a")); !errors.Is(err, ErrUnavailable) || target != "1" {
			result <- fmt.Errorf("SetLink without an inode = %w, link to %q, want ErrUnavailable and the old link", err, target)
			return
		}
		result <- d.Close()
	}()
	if err := <-result; err != nil {
		t.Skipf("cannot mount here: %v", err)
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
}
