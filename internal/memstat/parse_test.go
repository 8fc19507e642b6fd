// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

import (
	"bytes"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"golang.org/x/sys/unix"
)

// fixture returns a file of testdata/proc.txtar.
func fixture(t testing.TB, name string) []byte {
	t.Helper()
	archive, err := txtar.ParseFile("testdata/proc.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range archive.Files {
		if f.Name == name {
			return f.Data
		}
	}
	t.Fatalf("testdata/proc.txtar has no %s", name)
	return nil
}

func TestStatusIsReadInBytes(t *testing.T) {
	for name, want := range map[string]status{
		"linux-5.4/status": {
			parent: 4200, rssAnon: 8704 << 10, rssFile: 5984 << 10, rssShmem: 98656 << 10,
			pageTables: 320 << 10, swap: 64 << 10,
		},
		"linux-6.18/status": {
			parent: 20750, rssAnon: 6880 << 10, rssFile: 6672 << 10, rssShmem: 1024 << 10, pageTables: 68 << 10,
		},
		// A process may call itself what it likes; the kernel escapes the newline.
		"hostile/status": {parent: 1, rssAnon: 100 << 10, rssFile: 200 << 10, pageTables: 52 << 10},
	} {
		got, ok := parseStatus(fixture(t, name))
		if !ok || got != want {
			t.Errorf("%s: %+v %v, want %+v", name, got, ok, want)
		}
	}
	for _, text := range []string{string(fixture(t, "zombie/status")), "", "RssAnon:\t1 kB\n"} {
		if got, ok := parseStatus([]byte(text)); ok {
			t.Errorf("%q has memory: %+v", text, got)
		}
	}
}

func TestRollupIsReadInBytes(t *testing.T) {
	for name, want := range map[string]rollup{
		"linux-5.4/smaps_rollup": {
			rss: 113344 << 10, pss: 20918 << 10, pssAnon: 8700 << 10, pssFile: 138 << 10, pssShmem: 12080 << 10,
			privateClean: 16 << 10, privateDirty: 8692 << 10,
		},
		"linux-6.18/smaps_rollup": {
			rss: 14576 << 10, pss: 8536 << 10, pssAnon: 6880 << 10, pssFile: 632 << 10, pssShmem: 1024 << 10,
			privateClean: 0 << 10, privateDirty: 7904 << 10,
		},
	} {
		got, ok := parseRollup(fixture(t, name))
		if !ok || got != want {
			t.Errorf("%s: %+v %v, want %+v", name, got, ok, want)
		}
	}
	if got, ok := parseRollup([]byte("Rss: 1 kB\nPss: 1 kB\nPrivate_Clean: 0 kB\nPrivate_Dirty: 0 kB\n")); ok {
		t.Errorf("a rollup without Pss_Anon was accepted: %+v", got)
	}
}

func TestMappingsAreFoundByDeviceAndInode(t *testing.T) {
	text := fixture(t, "hostile/maps")
	found := func(dev, ino uint64) []mapping {
		return appendMappings(nil, text, func(d, i uint64) bool { return d == dev && i == ino })
	}
	memfd := unix.Mkdev(0, 1)
	want := []mapping{{start: 0x7f0000000000, end: 0x7f0000100000, dev: memfd, ino: 77, shared: true}}
	if got := found(memfd, 77); !cmp.Equal(got, want, cmp.AllowUnexported(mapping{})) {
		t.Errorf("memfd: %+v", got)
	}
	if got := found(memfd, 88); got != nil {
		t.Errorf("a name was taken for a mapping: %+v", got)
	}
	want = []mapping{{start: 0x7f0000200000, end: 0x7f0000300000, offset: 0x80000, dev: unix.Mkdev(8, 2), ino: 88}}
	if got := found(unix.Mkdev(8, 2), 88); !cmp.Equal(got, want, cmp.AllowUnexported(mapping{})) {
		t.Errorf("file: %+v", got)
	}
	if got := found(unix.Mkdev(0x103, 0xffffe), 1<<64-1); len(got) != 1 {
		t.Errorf("large numbers: %+v", got)
	}
	if got := found(0, 0); got != nil {
		t.Errorf("memory without a file: %+v", got)
	}
}

func TestEveryLineOfMapsIsUnderstood(t *testing.T) {
	texts := [][]byte{fixture(t, "linux-6.18/maps"), fixture(t, "hostile/maps")}
	if own, err := os.ReadFile("/proc/self/maps"); err == nil {
		texts = append(texts, own)
	}
	for _, text := range texts {
		lines, understood := 0, 0
		for len(text) > 0 {
			var line []byte
			line, text, _ = bytes.Cut(text, []byte{'\n'})
			lines++
			if _, ok := parseMapping(line); ok {
				understood++
			} else {
				t.Errorf("not understood: %q", line)
			}
		}
		if lines == 0 {
			t.Error("no lines")
		}
	}
}

func FuzzParsers(f *testing.F) {
	for _, name := range []string{"linux-5.4/status", "linux-5.4/smaps_rollup", "hostile/maps", "hostile/status"} {
		f.Add(fixture(f, name))
	}
	f.Add([]byte("RssAnon:\t99999999999999999999999999999 kB"))
	f.Add([]byte("ffffffffffffffff-fffffffffffffffff r--p 0 0:0 0 "))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, _ := parseStatus(text)
		if min(s.rssAnon, s.rssFile, s.rssShmem, s.pageTables, s.swap, s.rss()) < 0 {
			t.Errorf("negative: %+v", s)
		}
		r, _ := parseRollup(text)
		if min(r.rss, r.pss, r.pssAnon, r.pssFile, r.pssShmem, r.privateClean, r.privateDirty) < 0 {
			t.Errorf("negative: %+v", r)
		}
		for _, m := range appendMappings(nil, text, func(uint64, uint64) bool { return true }) {
			if m.end <= m.start || m.ino == 0 {
				t.Errorf("not a mapping of a file: %+v", m)
			}
		}
	})
}
