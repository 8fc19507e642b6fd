// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: the data lies in huge pages unless that was switched off, also where the host says never; a worker that maps it at
// a 2 MiB boundary, or any worker where the host says advise, has it mapped by them, with page tables that are smaller
// by what the small pages took; --lock-memory keeps it in RAM, and says what is missing where it may not.

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/supervisor"
)

const hugePage = 2 * mib

// paged runs one worker of testdata/pages.py over size bytes and returns its figures; "aligned" or "plain" is how it maps them.
func paged(t *testing.T, size int64, how string, flags ...string) *supervisor.Snapshot {
	t.Helper()
	path, _ := blob(t, size)
	f := start(t, spec{
		flags:   append(flags, "-w", "1", "-d", "blob="+path, "--ready", "notify"),
		command: []string{python(t, nil), script(t, "pages.py")}, env: []string{"MAP=" + how},
	})
	snap := f.untilExact(1)
	if told := f.logged("not all of a dataset is in huge pages"); told != nil {
		t.Skipf("this machine has no huge pages to give now: %v", told)
	}
	if rss := value(snap.Workers[0].Data[0].RSS); rss < float64(size) || rss >= float64(size)+float64(os.Getpagesize()) {
		t.Errorf("the worker has %v bytes, want all of %d: this shows nothing", rss, size)
	}
	f.stop()
	return snap
}

func TestDataLiesInHugePagesUnlessThatIsSwitchedOff(t *testing.T) {
	const size = 128*mib + 12345 // ends in small pages
	whole := float64(size / hugePage * hugePage)
	tables := map[string]float64{}
	for name, c := range map[string]struct { // short names: a control socket's path has 107 bytes
		flags []string
		huge  float64
	}{
		"auto":    {[]string{"--huge-pages", "auto"}, whole},
		"on":      {[]string{"--huge-pages", "on"}, whole},
		"off":     {[]string{"--huge-pages", "off"}, 0},
		"but off": {[]string{"--huge-pages", "on", "--data-opt", "blob.huge-pages=off"}, 0},
		"but on":  {[]string{"--huge-pages", "off", "--data-opt", "blob.huge-pages=on"}, whole},
	} {
		t.Run(name, func(t *testing.T) {
			snap := paged(t, size, "aligned", c.flags...)
			w := snap.Workers[0]
			mapped := value(w.Data[0].Huge)
			tables[name] = value(w.PageTables)
			t.Logf("huge %.1f of %.1f MiB, mapped so %.1f MiB, page tables %.0f KiB",
				value(snap.Data[0].Huge)/mib, float64(size)/mib, mapped/mib, tables[name]/1024)
			if value(snap.Data[0].Huge) != c.huge {
				t.Errorf("data[].huge = %v, want %v", value(snap.Data[0].Huge), c.huge)
			}
			if w.Data[0].Huge != nil && mapped != c.huge {
				t.Errorf("workers[].data[].huge = %v, want %v", mapped, c.huge)
			}
		})
	}
	// A page of a table for each 2 MiB that are mapped by small pages: 64 of them, but for what else the process has.
	if large, small := tables["off"], tables["auto"]; large > 0 && small > 0 && large-small < (whole/hugePage-8)*4096 {
		t.Errorf("page tables: %v bytes with small pages, %v with huge ones", large, small)
	}
}

const shmemEnabled = "/sys/kernel/mm/transparent_hugepage/shmem_enabled"

// hostSays sets shmem_enabled for the rest of a test. Tests that depend on it take turns by a lock that other programs may hold too.
func hostSays(t *testing.T, setting string) {
	t.Helper()
	asRoot(t)
	lock, err := os.OpenFile("/tmp/shmem_enabled.lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lock.Close() })
	within(t, 5*patience, "the lock on shmem_enabled", func() bool { return unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil })
	text, err := os.ReadFile(shmemEnabled)
	if err != nil {
		t.Skip(err)
	}
	_, rest, _ := strings.Cut(string(text), "[")
	found, _, _ := strings.Cut(rest, "]")
	if err := os.WriteFile(shmemEnabled, []byte(setting), 0); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(shmemEnabled, []byte(found), 0); err != nil {
			t.Errorf("cannot restore %s to %s: %v", shmemEnabled, found, err)
		}
	})
}

func TestAPlainMappingIsHugeWhereTheHostAdvises(t *testing.T) {
	const size = 64 * mib
	for setting, want := range map[string]bool{"never": false, "advise": true} {
		t.Run(setting, func(t *testing.T) {
			hostSays(t, setting)
			snap := paged(t, size, "plain")
			w := snap.Workers[0]
			t.Logf("mapped by huge pages: %.1f of %d MiB, page tables %.0f KiB", value(w.Data[0].Huge)/mib, size/mib, value(w.PageTables)/1024)
			if value(snap.Data[0].Huge) != size {
				t.Errorf("data[].huge = %v, want %d", value(snap.Data[0].Huge), size)
			}
			if w.Data[0].Huge == nil {
				t.Skip("this kernel does not tell what is mapped by huge pages")
			}
			if huge := value(w.Data[0].Huge) == size; huge != want {
				t.Errorf("workers[].data[].huge = %v", value(w.Data[0].Huge))
			}
			f := &fleet{t: t, dir: place(t)}
			stdout, stderr, code := f.command("check", "--stats", "off", "--run-dir", filepath.Join(f.dir, "run"), "-d", "blob="+sparse(t, size), "--", "sleep", "1")
			if advised := strings.Contains(stdout, "echo advise > "+shmemEnabled); code != 0 || advised == want {
				t.Errorf("check: exit code %d\n%s%s", code, stdout, stderr)
			}
		})
	}
}

func TestLockedDataStaysInRAM(t *testing.T) {
	asRoot(t)
	const size = 16 * mib
	path, _ := blob(t, size)
	f := start(t, spec{
		flags:   []string{"-w", "1", "-d", "blob=" + path, "-d", "free=" + path, "--data-opt", "free.lock=false", "--lock-memory", "--ready", "alive:10ms"},
		command: sleeper,
	})
	snap := f.untilReady(1)
	if !snap.Data[0].Locked || snap.Data[1].Locked {
		t.Errorf("data: %+v", snap.Data)
	}
	if locked := status(t, f.pid, "VmLck"); locked != size {
		t.Errorf("preforkd has locked %d bytes, want %d", locked, size)
	}
	for _, w := range snap.Workers {
		if locked := status(t, *w.PID, "VmLck"); locked != 0 {
			t.Errorf("a worker has locked %d bytes", locked)
		}
	}
	other, _ := blob(t, 2*size)
	if err := os.Rename(other, path); err != nil {
		t.Fatal(err)
	}
	f.must("reload")
	f.until("the new versions alone", func(s *supervisor.Snapshot) bool { return len(s.Data) == 2 && s.Data[0].Version == 2 })
	if locked := status(t, f.pid, "VmLck"); locked != 2*size {
		t.Errorf("after a reload preforkd has locked %d bytes, want %d", locked, 2*size)
	}
	f.stop()
}

func TestDataThatMayNotBeLockedIsRefused(t *testing.T) {
	asRoot(t)
	const nobody = 65534
	dir := place(t)
	binary, err := os.ReadFile(preforkd) // this checkout may be below a closed home
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "preforkd"), binary, 0o755)
	}
	if err == nil {
		err = os.Chown(dir, nobody, nobody)
	}
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "blob.bin"), strings.Repeat("x", mib))
	for limit, want := range map[string]int{"65536": 3, "8388608": 0} {
		t.Run(limit, func(t *testing.T) {
			account, through := newLedger(t)
			f := start(t, spec{
				dir: dir,
				through: append(through, tool(t, "prlimit"), "--memlock="+limit,
					tool(t, "setpriv"), "--reuid", fmt.Sprint(nobody), "--regid", fmt.Sprint(nobody), "--clear-groups", "--inh-caps=-all",
					"/bin/sh", "-c", `shift; exec ./preforkd "$@"`, "sh"),
				flags: []string{"-w", "1", "-d", "blob=blob.bin", "--lock-memory", "--ready", "alive:10ms"}, command: sleeper,
			})
			if want == 0 {
				f.untilReady(1)
				if locked := status(t, f.pid, "VmLck"); locked != mib {
					t.Errorf("preforkd has locked %d bytes, want %d", locked, mib)
				}
				if err := syscall.Kill(f.pid, syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
			}
			f.exits(want)
			says := `cannot load dataset "blob": blob.bin: cannot lock `
			if out := f.output(); (want == 3) != strings.Contains(out, "RLIMIT_MEMLOCK is 64 KiB") || (want == 3) != strings.Contains(out, says) {
				t.Errorf("it said:\n%s", out)
			}
			account.holds()
		})
	}
}
