// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestWhatHasTheSameBytesIsUnchanged(t *testing.T) {
	leavesNothing(t)
	one, same := noise(5<<20), writeFile(t, "same.npy", noise(5<<20))
	last := bytes.Clone(one)
	last[len(last)-1]++
	spec := Spec{Name: "a", Source: writeFile(t, "x.npy", one)}
	have := load(t, &Loader{}, spec)[0]
	l := &Loader{Have: map[string]*Loaded{"a": have}, Start: startCommand}
	for _, source := range []string{spec.Source, same, "cmd:cat " + same} {
		d := load(t, l, Spec{Name: "a", Source: source})[0]
		id, _ := Spec{Name: "a", Source: source}.Identity()
		if !d.Unchanged || d.Segment != nil || d.Size() != have.Size() || d.Identity != id {
			t.Errorf("%s: %+v", source, d)
		}
	}
	off := Options{HugePages: "off"}
	for what, other := range map[string]Spec{
		"one byte":    {Name: "a", Source: writeFile(t, "x", last)},
		"longer":      {Name: "a", Source: writeFile(t, "x", append(last, 0))},
		"other pages": {Name: "a", Source: spec.Source, Options: off},
		"other name":  {Name: "b", Source: spec.Source},
	} {
		if d := load(t, l, other)[0]; d.Unchanged || d.Segment == nil {
			t.Errorf("%s: %+v", what, d)
		}
	}
}

func TestALockedDatasetIsInRAM(t *testing.T) {
	leavesNothing(t)
	yes, path := true, writeFile(t, "x", noise(3<<20))
	free, _ := machine(t, 2<<20)
	for _, source := range []string{path, "direct:" + path} {
		got := refused(t, &Loader{Free: free}, Spec{Name: "a", Source: source, Options: Options{Lock: new(true)}})
		if !strings.Contains(got, "needs 3.0 MiB, but only 1.9 MiB") {
			t.Errorf("%s: %s", source, got)
		}
	}
	before := lockedBytes(t)
	for _, spec := range []Spec{{Name: "a", Source: path}, {Name: "b", Source: "direct:" + path}} {
		spec.Options.Lock = &yes
		all, err := (&Loader{}).Load(t.Context(), []Spec{spec})
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOMEM) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := lockedBytes(t) - before; !all[0].Locked() || got != 3<<20 {
			t.Errorf("%s: %d bytes are locked", spec.Source, got)
		}
		if err := errors.Join(all[0].Close(), all[0].Close()); err != nil {
			t.Error(err)
		}
		if got := lockedBytes(t) - before; got != 0 {
			t.Errorf("%s: %d bytes are still locked", spec.Source, got)
		}
	}
}

func lockedBytes(t *testing.T) int64 { return status(t, "VmLck") }

// status is one field of /proc/self/status, in bytes.
func status(t *testing.T, field string) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	var kib int64
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			for _, c := range strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")) {
				kib = kib*10 + int64(c-'0')
			}
		}
	}
	return kib << 10
}

func TestAHintIsGivenOnceForEachKindOfContent(t *testing.T) {
	leavesNothing(t)
	var out bytes.Buffer
	l := &Loader{Log: slog.New(slog.NewTextHandler(&out, nil))}
	table := Spec{Name: "a", Source: writeFile(t, "x.csv", []byte(strings.Repeat("id,name,score\n1,one,0.5\n", 100)))}
	have := load(t, l, table)[0]
	if have.Hint == "" || strings.Count(out.String(), "\n") != 1 || !strings.Contains(out.String(), "CSV") {
		t.Errorf("hint %q, log %s", have.Hint, out.String())
	}
	out.Reset()
	l.Have = map[string]*Loaded{"a": have}
	table.Source = writeFile(t, "x.csv", []byte(strings.Repeat("id,name,score\n2,two,0.5\n", 100)))
	load(t, l, table)
	if out.Len() > 0 {
		t.Errorf("again: %s", out.String())
	}
}

// A segment counts as a file.
func TestTheLimitOfFileSizesIsKept(t *testing.T) {
	leavesNothing(t)
	// The small one fits, but not the huge page in which it would end.
	big, small := writeFile(t, "b", noise(11<<20)), writeFile(t, "s", noise(9<<20+1000))
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 9<<20 + 5000, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_FSIZE, &old) //nolint:errcheck // as it was
	l := &Loader{Start: startCommand}
	for source, want := range map[string]string{
		big:                                   `needs 11 MiB, but a file may have only 9.0 MiB here`,
		"cmd:cat " + big:                      `but a file may have only 9`,
		"cmd:head -c 50M /dev/zero":           `but a file may have only 9`,
		"cmd:head -c 50M /dev/zero | gzip -1": `but a file may have only 9`,
	} {
		if got := refused(t, l, Spec{Name: "a", Source: source}); !strings.Contains(got, want) || !strings.Contains(got, "RLIMIT_FSIZE") {
			t.Errorf("%s: %s", source, got)
		}
	}
	load(t, l, Spec{Name: "a", Source: small}, Spec{Name: "b", Source: "cmd:cat " + small})
}
