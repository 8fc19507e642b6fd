// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: a file that is truncated, appended to or written in the middle of its load never becomes a version, and the message
// says what happened to it; one that is renamed over or deleted meanwhile is loaded whole, as it was. preforkd is stopped
// in the middle of the load to change the file: its half-written segment, seen from outside, shows that it was the middle.

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/supervisor"
)

// filled tells how many bytes preforkd has in a segment that it still writes: the one that it has open for writing.
func filled(pid int, name string) (bytes int64, found bool) {
	dir := fmt.Sprintf("/proc/%d/", pid)
	list, _ := os.ReadDir(dir + "fd")
	for _, entry := range list {
		target, _ := os.Readlink(dir + "fd/" + entry.Name())
		if !strings.HasPrefix(target, "/memfd:") || !strings.Contains(target, name) {
			continue
		}
		info, _ := os.ReadFile(dir + "fdinfo/" + entry.Name())
		flags := regexp.MustCompile(`(?m)^flags:\s+0*([0-7]+)$`).FindSubmatch(info)
		var st unix.Stat_t
		if flags != nil && flags[1][len(flags[1])-1] == '2' && unix.Stat(dir+"fd/"+entry.Name(), &st) == nil { // O_RDWR
			return st.Blocks * 512, true
		}
	}
	return 0, false
}

// halt stops preforkd in the middle of writing a segment of size bytes. false: it was too quick, and runs on. What the
// segment holds once every thread stands still is what counts.
func (f *fleet) halt(name string, size int64) bool {
	f.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		if bytes, found := filled(f.pid, name); found && bytes > 0 {
			break
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("no segment of %s is written", name)
		}
	}
	f.signal(syscall.SIGSTOP)
	within(f.t, patience, "every thread stands still", func() bool {
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", f.pid))
		return err == nil && !slices.ContainsFunc(tasks, func(task os.DirEntry) bool {
			text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/stat", f.pid, task.Name()))
			_, rest, _ := strings.Cut(string(text), ") ")
			return !strings.HasPrefix(rest, "T")
		})
	})
	bytes, found := filled(f.pid, name)
	if found && bytes > 0 && bytes < size {
		return true
	}
	f.signal(syscall.SIGCONT)
	return false
}

const shrank = `shrank from [0-9,]+ to [0-9,]+ bytes while it was read`

// interruptions are what may happen to a file, and what comes of a load in the middle of which it happens.
var interruptions = []struct {
	name   string
	happen func(path string, size int64) error
	says   string // "": it is loaded as it was
	cold   bool   // it comes from the disk, not from the page cache
}{
	{"truncated", func(path string, size int64) error { return os.Truncate(path, size/8) }, shrank, false},
	{"truncated, read from the disk", func(path string, size int64) error { return os.Truncate(path, size/8) }, shrank, true},
	{"emptied", func(path string, _ int64) error { return os.Truncate(path, 0) }, shrank, false},
	{"appended to", func(path string, _ int64) error { return writeAt(path, os.O_APPEND, "more") }, `grew beyond [0-9,]+ bytes while it was read`, false},
	{"written to", func(path string, _ int64) error { return writeAt(path, 0, "other") }, `was changed while it was read`, false},
	{"renamed over", func(path string, _ int64) error {
		return errors.Join(os.WriteFile(path+".new", []byte("another file"), 0o644), os.Rename(path+".new", path))
	}, "", false},
	{"deleted", func(path string, _ int64) error { return os.Remove(path) }, "", false},
}

// chill writes a file to the disk and drops it from the page cache.
func chill(t *testing.T, path string) {
	t.Helper()
	file, err := os.Open(path)
	if err == nil {
		defer file.Close()
		err = errors.Join(file.Sync(), unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_DONTNEED))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func writeAt(path string, how int, text string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|how, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Close())
}

func TestAFileThatChangesInTheMiddleOfAReload(t *testing.T) {
	const size = 256 * mib
	content := strings.Repeat("0123456789abcdef", size/16)
	account, through := newLedger(t)
	path := filepath.Join(place(t), "blob.bin")
	put(t, path, "one")
	f := start(t, spec{
		through: through, flags: []string{"-w", "2", "-d", "blob=" + path, "--ready", "notify"},
		command: []string{python(t, nil), script(t, "digests.py")},
	})
	version, serves := 1, "one"
	f.tells(2, "blob:1:"+sha256Of(serves))
	f.until("the digest", func(s *supervisor.Snapshot) bool { return s.Data[0].SHA256 != nil })
	descriptors := links(t, f.pid)
	for _, c := range interruptions {
		t.Run(c.name, func(t *testing.T) {
			before := mainPIDs(f.settled(2))
			var o outcome
			for try := 1; ; try++ {
				text := fmt.Sprint(c.name, try, content) // new in each try
				put(t, path, text)
				if c.cold {
					chill(t, path)
				}
				reload := f.beside("reload", "blob")
				if !f.halt("blob", int64(len(text))) {
					if o = <-reload; o.code != 0 {
						t.Fatalf("reload that nobody disturbed: %+v", o)
					}
					version++
					serves, before = text, mainPIDs(f.settled(2))
					if try == 10 {
						t.Skip("preforkd loads quicker than this test can stop it")
					}
					continue
				}
				err := c.happen(path, int64(len(text)))
				f.signal(syscall.SIGCONT)
				if o = <-reload; err != nil {
					t.Fatal(err)
				}
				if c.says == "" {
					version++
					serves = text
				}
				break
			}
			t.Logf("exit code %d: %s%s", o.code, o.said, o.failed)
			if c.says == "" {
				if o.code != 0 {
					t.Errorf("reload: %+v", o)
				}
			} else {
				says := regexp.MustCompile(`cannot load dataset "blob": .*/blob\.bin: ` + c.says)
				if o.code != 3 || !says.MatchString(o.failed) {
					t.Errorf("reload: %+v, want %v", o, says)
				}
				f.servesOn(t, before, "while it was read")
			}
			f.tells(2, fmt.Sprintf("blob:%d:%s", version, sha256Of(serves)))
			account.holds(int64(len(serves)))
		})
	}
	f.until("the digest of the last", func(s *supervisor.Snapshot) bool { return len(s.Data) == 1 && s.Data[0].SHA256 != nil })
	f.keeps(descriptors)
	// The one that was deleted is missed the next time; the old version goes on.
	if _, stderr, code := f.verb("reload", "blob"); code != 3 || !strings.Contains(stderr, "blob.bin: no such file or directory") {
		t.Errorf("reload of a deleted file: exit code %d: %s", code, stderr)
	}
	f.stop()
	account.holds()
}

func TestAFileThatShrinksInTheMiddleOfTheFirstLoadIsRefused(t *testing.T) {
	const size = 256 * mib
	content := strings.Repeat("0123456789abcdef", size/16)
	for try := 1; ; try++ {
		account, through := newLedger(t)
		path := filepath.Join(place(t), "blob.bin")
		put(t, path, content)
		f := start(t, spec{through: through, flags: []string{"-w", "2", "-d", "blob=" + path, "--ready", "alive:10ms"}, command: sleeper})
		if !f.halt("blob", size) {
			f.untilReady(2)
			f.stop()
			if try == 10 {
				t.Skip("preforkd loads quicker than this test can stop it")
			}
			continue
		}
		err := os.Truncate(path, size/2)
		f.signal(syscall.SIGCONT)
		if err != nil {
			t.Fatal(err)
		}
		f.exits(3)
		if out := f.output(); !strings.Contains(out, "shrank from 268,435,456 to 134,217,728 bytes while it was read") || strings.Contains(out, "worker started") {
			t.Errorf("it said:\n%s", out)
		}
		account.holds()
		return
	}
}
