// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/host"
)

func TestADirectFileStaysWhereItIs(t *testing.T) {
	leavesNothing(t)
	// What cannot be handed over as a segment is what direct: is for.
	for name, text := range map[string]string{"x.db": "SQLite format 3\x00 and so on", "x.h5": "\x89HDF\r\n\x1a\n", "empty": ""} {
		path := writeFile(t, name, []byte(text))
		t.Chdir(filepath.Dir(path))
		d := load(t, &Loader{}, Spec{Name: "a", Source: "direct:./" + name})[0]
		id, ok := d.Spec.Identity()
		if d.DirectPath != path || d.Segment != nil || d.Size() != int64(len(text)) || !ok || id != d.Identity || d.Locked() {
			t.Errorf("%s: %+v", name, d)
		}
		if string(content(t, d)) != text {
			t.Errorf("%s: other content", name)
		}
		if _, err := d.Digest(t.Context()); err == nil {
			t.Error("a digest of what is not loaded")
		}
	}
}

func TestADirectDirectoryIsItsFiles(t *testing.T) {
	leavesNothing(t)
	dir, elsewhere := t.TempDir(), writeFile(t, "blob", noise(5000))
	if err := os.MkdirAll(filepath.Join(dir, "sub", "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	inner := filepath.Join(dir, "sub", "x")
	for path, size := range map[string]int{filepath.Join(dir, "a"): 1000, inner: 3000} {
		if err := os.WriteFile(path, noise(size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"blob": elsewhere, "nowhere": "/no/such", "loop": dir} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	spec := Spec{Name: "a", Source: "direct:" + dir, Options: Options{Preread: true}}
	d := load(t, &Loader{}, spec)[0]
	look, err := spec.Look(t.Context())
	if err != nil || d.Size() != 9000 || look.Size != 9000 || d.DirectPath != dir {
		t.Errorf("%+v, %+v, %v", d, look, err)
	}
	if resident, err := d.Resident(); err != nil || resident < 9000 {
		t.Errorf("it was read ahead, and %d bytes are in the page cache: %v", resident, err)
	}
	f, err := d.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if names, err := f.Readdirnames(-1); err != nil || len(names) != 5 {
		t.Errorf("%q, %v", names, err)
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(inner, later, later); err != nil {
		t.Fatal(err)
	}
	if id, ok := spec.Identity(); !ok || id == d.Identity {
		t.Error("a file in it was touched, and it counts as unchanged")
	}
}

// A link is how a whole directory is replaced at once.
func TestADirectLinkToADirectoryIsItsFiles(t *testing.T) {
	leavesNothing(t)
	one, two, link := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "current")
	for dir, size := range map[string]int{one: 1000, two: 3000} {
		if err := os.WriteFile(filepath.Join(dir, "a"), noise(size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(one, link); err != nil {
		t.Fatal(err)
	}
	spec := Spec{Name: "a", Source: "direct:" + link, Options: Options{Preread: true}}
	d := load(t, &Loader{}, spec)[0]
	if resident, err := d.Resident(); d.Size() != 1000 || d.DirectPath != link || resident < 1000 || err != nil {
		t.Errorf("%d bytes resident, %v: %+v", resident, err, d)
	}
	if err := errors.Join(os.Symlink(two, link+"2"), os.Rename(link+"2", link)); err != nil {
		t.Fatal(err)
	}
	if id, ok := spec.Identity(); !ok || id == d.Identity || id.Size != 3000 {
		t.Errorf("after the switch: %+v", id)
	}
}

// While the old version is locked the new one needs only what is new.
func TestALockedDirectoryIsCountedOnce(t *testing.T) {
	leavesNothing(t)
	dir := t.TempDir()
	for name, size := range map[string]int{"a": 6 << 18, "b": 1 << 18} {
		if err := os.WriteFile(filepath.Join(dir, name), noise(size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	spec := Spec{Name: "a", Source: "direct:" + dir, Options: Options{Lock: new(true)}}
	all, err := (&Loader{}).Load(t.Context(), []Spec{spec})
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOMEM) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer all[0].Close()
	l := &Loader{
		Have: map[string]*Loaded{"a": all[0]},
		Free: func() (host.Headroom, error) { return host.Headroom{Free: 4 << 18, By: "a test"}, nil },
	}
	if err := os.WriteFile(filepath.Join(dir, "c"), noise(2<<18), 0o600); err != nil {
		t.Fatal(err)
	}
	load(t, l, spec)
	again := filepath.Join(dir, "d")
	if err := errors.Join(os.WriteFile(again, noise(6<<18), 0o600), os.Rename(again, filepath.Join(dir, "a"))); err != nil {
		t.Fatal(err)
	}
	if got := refused(t, l, spec); !strings.Contains(got, "needs 2.0 MiB, but only 97") {
		t.Errorf("another file of the same name: %s", got)
	}
}

func TestWhatIsGoneIsNotResident(t *testing.T) {
	leavesNothing(t)
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(dir, name), noise(5000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d := load(t, &Loader{}, Spec{Name: "a", Source: "direct:" + dir, Options: Options{Preread: true}})[0]
	if err := os.Remove(filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	d.direct.measure()
	if n, err := d.Resident(); n != 8192 && os.Getpagesize() == 4096 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// mincore says that all is there, of what others own.
func TestWhatMayNotBeKnownIsAnError(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be another user for a moment")
	}
	f := reopened(t, writeFile(t, "x", noise(100_000)), 0)
	if err := errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)); err != nil {
		t.Fatal(err)
	}
	if n, err := inCache(f); n > 0 || err != nil {
		t.Skipf("%d bytes stay in the page cache here: %v", n, err)
	}
	type answer struct {
		n   int64
		err error
	}
	answers := make(chan answer)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its user
		const keep = ^uintptr(0)
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, keep, 65534, keep); errno != 0 {
			answers <- answer{0, errno}
			return
		}
		n, err := inCache(f)
		answers <- answer{n, err}
	}()
	got := <-answers
	// An older kernel's cachestat tells everybody.
	if got.n > 0 || got.err != nil && !errors.Is(got.err, unix.EACCES) {
		t.Errorf("%d bytes, %v", got.n, got.err)
	}
}

func TestADirectSourceThatCannotServeIsRefused(t *testing.T) {
	leavesNothing(t)
	many := t.TempDir()
	for i := range maxDirect + 1 {
		if err := unix.Symlink("x", filepath.Join(many, "n"+strings.Repeat("i", i%50)+time.Duration(i).String())); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		path    string
		options Options
		want    string
	}{
		{filepath.Join(t.TempDir(), "x"), Options{}, "no such file or directory"},
		{fifo(t), Options{}, "neither a file nor a directory"},
		{"/dev/null", Options{}, "neither a file nor a directory"},
		{t.TempDir(), Options{SHA256: digestOfNothing}, "is a directory: sha256 is for files"},
		{many, Options{Preread: true}, "more than 20,000 entries"},
	} {
		got := refused(t, &Loader{}, Spec{Name: "a", Source: "direct:" + c.path, Options: c.options})
		if !strings.Contains(got, `cannot load dataset "a": direct:`) || !strings.Contains(got, c.want) {
			t.Errorf("%s: %s", c.path, got)
		}
	}
}

func TestMincoreAndCachestatAgree(t *testing.T) {
	path := writeFile(t, "x", noise(100_000))
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.Copy(io.Discard, f); err != nil {
		t.Fatal(err)
	}
	one, err := inCache(f)
	if err != nil {
		t.Fatal(err)
	}
	two, err := mincore(int(f.Fd()), 100_000)
	if err != nil || one != two || one < 100_000 {
		t.Errorf("%d and %d, %v", one, two, err)
	}
}
