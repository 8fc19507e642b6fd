// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: what needs a real path is refused as a segment, with the advice, and works as direct:PATH, in several workers and
// through reloads; directories too; preread fills the page cache and lock keeps it.

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/supervisor"
)

// saveSQLite puts a database of so many places at path, by renaming.
func saveSQLite(t *testing.T, path string, places int) {
	t.Helper()
	program := `
import os, sqlite3, sys
path, n = sys.argv[1], int(sys.argv[2])
db = sqlite3.connect(path + ".new")
db.execute("CREATE TABLE places (name)")
db.executemany("INSERT INTO places VALUES (?)", ((f"place {i}",) for i in range(n)))
db.commit()
db.close()
os.rename(path + ".new", path)
`
	if text, err := exec.Command(python(t, nil), "-c", program, path, fmt.Sprint(places)).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
}

func TestSQLiteIsServedDirect(t *testing.T) {
	dir := place(t)
	path := filepath.Join(dir, "geo.sqlite")
	saveSQLite(t, path, 1000)
	refusedWith(t, spec{flags: []string{"-d", "geo=" + path}},
		`cannot load dataset "geo": .*geo\.sqlite: a SQLite database must be opened by its real path .*: use direct:PATH`)

	f := start(t, spec{
		dir: dir, flags: []string{"-w", "3", "-d", "geo=direct:geo.sqlite", "--ready", "notify"}, // a relative path
		command: []string{python(t, nil), script(t, "geo.py"), "{path:geo}"},
	})
	f.haveCounted(3, 1000, 1)
	f.linksTo("geo.v1.sqlite", path)
	f.linksTo("geo.sqlite", path)
	for _, pid := range mainPIDs(f.settled(3)) {
		if got, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/3", pid)); err != nil || got != path {
			t.Errorf("worker %d has %s as its descriptor, %v", pid, got, err)
		}
	}

	before := mainPIDs(f.settled(3))
	if text := f.must("reload", "geo"); !strings.Contains(text, "no worker replaced; geo has not changed") {
		t.Errorf("reload said %q", text)
	}
	saveSQLite(t, path, 2000)
	if text := f.must("reload", "geo"); !strings.Contains(text, "geo is now version 2") {
		t.Errorf("reload said %q", text)
	}
	snap := f.haveCounted(3, 2000, 2)
	for _, pid := range mainPIDs(snap) {
		if slices.Contains(before, pid) {
			t.Errorf("worker %d was there before", pid)
		}
	}
	f.linksTo("geo.v2.sqlite", path)
	f.linksTo("geo.sqlite", path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := f.verb("reload", "geo"); code != 3 || !strings.Contains(stderr, "geo.sqlite: no such file or directory") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	f.haveCounted(3, 2000, 2)
	f.stop()
	if left, err := filepath.Glob(filepath.Join(dir, "*memfd*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func (f *fleet) haveCounted(workers, places, version int) *supervisor.Snapshot {
	f.t.Helper()
	snap := f.settled(workers)
	want := fmt.Sprintf("%d places, version %d, refused: attempt to write a readonly database", places, version)
	for _, w := range snap.Workers {
		if w.StatusText != want {
			f.t.Errorf("worker %d says %q, want %q", w.ID, w.StatusText, want)
		}
	}
	if d := snap.Data[0]; len(snap.Data) != 1 || !d.Direct || d.Version != version || d.SHA256 != nil || d.Huge != nil || snap.Memory.Data != 0 {
		f.t.Errorf("data: %+v, %d bytes held", snap.Data, snap.Memory.Data)
	}
	return snap
}

func (f *fleet) linksTo(name, want string) {
	f.t.Helper()
	got, err := os.Readlink(filepath.Join(f.run, "data", name))
	if err != nil || got != want {
		f.t.Errorf("the link %s leads to %q, %v, want %q", name, got, err, want)
	}
}

func TestFilesAndDirectoriesAreServedDirect(t *testing.T) {
	dir := place(t)
	index := filepath.Join(dir, "index")
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path+".new", []byte(text), 0o644), os.Rename(path+".new", path)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(index, "deep"), 0o755); err != nil {
		t.Fatal(err)
	}
	write("index/a", "one")
	write("index/deep/b", strings.Repeat("two", 1000))
	write("grid.h5", "\x89HDF\r\n\x1a\n"+strings.Repeat("grid", 1000))
	refusedWith(t, spec{dir: place(t), flags: []string{"-d", "x=" + filepath.Join(dir, "grid.h5")}},
		`cannot load dataset "x": .*grid\.h5: an HDF5 file must be opened by its real path .*: use direct:PATH`)
	refusedWith(t, spec{dir: place(t), flags: []string{"-d", "x=" + index}},
		`cannot load dataset "x": .*index: is a directory: name a file in it, or give workers the directory itself as direct:PATH`)

	program := `
import json, os, signal, sys
sys.path.insert(0, sys.argv[1])
from notify import say
data = json.loads(os.environ["PREFORKD_DATA"])
there = sorted(os.listdir(data["index"]["fd"]))
inside = open(os.path.join(data["index"]["path"], "deep/b")).read(6)
read = open("deep/b", opener=lambda path, flags: os.open(path, flags, dir_fd=data["index"]["fd"])).read(6)
grid = os.pread(data["grid"]["fd"], 4, 0) == open(data["grid"]["path"], "rb").read(4) == b"\x89HDF"
say("READY=1", f"STATUS={there} {inside} {read} {grid} {data['index']['version']} {os.path.basename(data['grid']['path'])}")
signal.pause()
`
	f := start(t, spec{
		dir: dir, flags: []string{"-w", "2", "-d", "index=direct:index/", "-d", "grid=direct:" + filepath.Join(dir, "grid.h5"), "--ready", "notify"},
		command: []string{python(t, nil), "-c", program, script(t, ".")},
	})
	said := func(want string) *supervisor.Snapshot {
		t.Helper()
		snap := f.settled(2)
		for _, w := range snap.Workers {
			if w.StatusText != want {
				t.Errorf("worker %d says %q, want %q", w.ID, w.StatusText, want)
			}
		}
		return snap
	}
	snap := said("['a', 'deep'] twotwo twotwo True 1 grid.h5")
	if *snap.Data[0].Size != 3003 || *snap.Data[1].Size != 4008 {
		t.Errorf("data: %+v", snap.Data)
	}
	f.linksTo("index", index)
	f.linksTo("grid.h5", filepath.Join(dir, "grid.h5"))
	if text := f.must("reload", "index"); !strings.Contains(text, "no worker replaced; index has not changed") {
		t.Errorf("reload said %q", text)
	}
	write("index/deep/b", strings.Repeat("new", 1000))
	if text := f.must("reload", "index", "grid"); !strings.Contains(text, "index is now version 2") || !strings.Contains(text, "grid has not changed") {
		t.Errorf("reload said %q", text)
	}
	said("['a', 'deep'] newnew newnew True 2 grid.h5")
	f.stop()
}

// cached is how much of a file is in the page cache.
func cached(t *testing.T, path string) int64 {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var stat unix.Cachestat_t
	if err := unix.Cachestat(uint(file.Fd()), &unix.CachestatRange{}, &stat, 0); err != nil {
		missing(t, "cachestat (Linux 6.5): "+err.Error())
	}
	return int64(stat.Cache) * int64(os.Getpagesize())
}

func TestPrereadFillsThePageCacheAndLockKeepsIt(t *testing.T) {
	const size = 32 * mib
	path, _ := blob(t, size)
	forget := func() {
		t.Helper()
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if err := errors.Join(file.Sync(), unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_DONTNEED)); err != nil {
			t.Fatal(err)
		}
	}
	forget()
	if n := cached(t, path); n > 0 {
		missing(t, fmt.Sprintf("a disk for temporary files: %d bytes stay in memory", n))
	}
	for name, c := range map[string]struct {
		options []string
		read    bool
		locked  int64
	}{
		"neither": {},
		"preread": {options: []string{"blob.preread=true"}, read: true},
		"lock":    {options: []string{"blob.lock=true"}, read: true, locked: size},
	} {
		t.Run(name, func(t *testing.T) {
			if c.locked > 0 {
				asRoot(t) // RLIMIT_MEMLOCK of others is often 8 MiB
			}
			forget()
			flags := []string{"-w", "1", "-d", "blob=direct:" + path, "--ready", "alive:10ms"}
			for _, option := range c.options {
				flags = append(flags, "--data-opt", option)
			}
			f := start(t, spec{flags: flags, command: sleeper})
			snap := f.settled(1)
			if n := cached(t, path); n < size == c.read {
				t.Errorf("%d of %d bytes are in the page cache", n, size)
			}
			if got := status(t, f.pid, "VmLck"); got != c.locked {
				t.Errorf("preforkd has locked %d bytes, want %d", got, c.locked)
			}
			if snap.Data[0].Locked != (c.locked > 0) {
				t.Errorf("data: %+v", snap.Data[0])
			}
			if c.locked > 0 { // what is locked cannot be forgotten
				forget()
				if n := cached(t, path); n != size {
					t.Errorf("%d bytes are left in the page cache", n)
				}
			}
			f.until("what is in the page cache", func(s *supervisor.Snapshot) bool {
				return s.Data[0].Resident != nil && (*s.Data[0].Resident == size) == c.read
			})
			f.stop()
		})
	}
}
