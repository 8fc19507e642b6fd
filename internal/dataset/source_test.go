// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func fifo(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCheckTellsWhatIsWrongWithAFile(t *testing.T) {
	leavesNothing(t)
	whole := npy(header("'<f4'", "(3,)"), 12)
	for _, c := range []struct{ name, path, want string }{
		{"missing", filepath.Join(t.TempDir(), "no.npy"), "no.npy: no such file or directory"},
		{"below a file", writeFile(t, "f", []byte("x")) + "/x", "not a directory"},
		{"directory", t.TempDir(), "is a directory"},
		{"empty", writeFile(t, "e", nil), "is empty"},
		{"device", "/dev/zero", "is a device or socket"},
		{"truncated npy", writeFile(t, "t.npy", whole[:len(whole)-1]), "truncated npy: its header says 143 bytes in all " +
			"(shape (3,) of <f4), but it has 142"},
		{"objects", writeFile(t, "o.npy", npy(header("'|O'", "(3,)"), 100)), "never unpickles"},
		{"not supported", "https://example.org/x", "not supported"},
	} {
		err := Spec{"emb", c.path}.Check()
		text := fmt.Sprint(err)
		if !strings.Contains(text, c.want) || !strings.HasPrefix(text, `cannot load dataset "emb": `) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
		if typed := new(Error); !errors.As(err, &typed) {
			t.Errorf("%s: %T", c.name, err)
		}
	}
}

func TestCheckTellsWhoCannotReadAFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "secret")
	if err := os.WriteFile(path, []byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		for _, d := range []string{dir, filepath.Dir(dir)} {
			if err := os.Chmod(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		// The file system uid belongs to the thread; root loses the right to read everything with it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := unix.Setfsuid(65534); err != nil {
			t.Fatal(err)
		}
		defer unix.Setfsuid(0) //nolint:errcheck // back to root
	}
	err := Spec{"a", path}.Check()
	if err == nil || !strings.Contains(err.Error(), "permission denied: make it readable for uid") {
		t.Errorf("got %v", err)
	}
}

func TestPeekTellsSizeAndFormat(t *testing.T) {
	leavesNothing(t)
	array := npy(header("'<f4'", "(3,)"), 12)
	meta, size, err := Spec{"a", writeFile(t, "x", append(array, "more"...))}.Peek()
	want := Meta{Format: FormatNpy, DType: "<f4", Shape: []int64{3}, Order: "C", Offset: int64(len(array) - 12)}
	if err != nil || size != int64(len(array)+4) || !cmp.Equal(meta, want) {
		t.Errorf("npy: %+v, %d, %v", meta, size, err)
	}
	meta, size, err = Spec{"a", writeFile(t, "x", []byte("abc"))}.Peek()
	if err != nil || size != 3 || !cmp.Equal(meta, Meta{Format: FormatRaw}) {
		t.Errorf("raw: %+v, %d, %v", meta, size, err)
	}
	for _, stream := range []string{"-", "cmd:exit 3"} {
		if _, size, err := (Spec{"a", stream}).Peek(); err != nil || size != -1 {
			t.Errorf("%s: %d, %v", stream, size, err)
		}
	}
}

func TestPeekDoesNotOpenAFIFO(t *testing.T) {
	path := fifo(t)
	if _, size, err := (Spec{"a", path}).Peek(); err != nil || size != -1 {
		t.Errorf("%d, %v", size, err)
	}
}

func TestExtIsOnlyWhatIsPlain(t *testing.T) {
	for _, c := range []struct {
		source, format string
		stream         bool
		want           string
	}{
		{"./emb.npy", FormatNpy, false, ".npy"},
		{"./geo.mmdb", FormatRaw, false, ".mmdb"},
		{"./emb", FormatNpy, false, ""},
		{"./a.b/emb", FormatRaw, false, ""},
		{"./emb.", FormatRaw, false, ""},
		{"./emb.~1~", FormatRaw, false, ""},
		{"./emb.12345678901", FormatRaw, false, ""},
		{"-", FormatNpy, true, ".npy"},
		{"-", FormatNpy, false, ".npy"},
		{"-", FormatRaw, true, ""},
		{"cmd:cat x.bin", FormatRaw, true, ""},
		{"cmd:cat x.bin", FormatNpy, true, ".npy"},
		{"/dev/fd/63", FormatNpy, true, ".npy"},
		{"./pipe.gguf", FormatRaw, true, ".gguf"},
	} {
		if got := (Spec{"a", c.source}).ext(c.format, c.stream); got != c.want {
			t.Errorf("%s as %s: %q, want %q", c.source, c.format, got, c.want)
		}
	}
}
