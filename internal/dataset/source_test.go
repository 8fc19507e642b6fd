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
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/codec"
	"github.com/preforkd/preforkd/internal/format"
)

func fifo(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLookTellsWhatIsWrongWithAFile(t *testing.T) {
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
		{"not supported", "s3://bucket/x", "not supported"},
	} {
		_, err := Spec{Name: "emb", Source: c.path}.Look(t.Context())
		text := fmt.Sprint(err)
		if !strings.Contains(text, c.want) || !strings.HasPrefix(text, `cannot load dataset "emb": `) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
		if typed := new(Error); !errors.As(err, &typed) {
			t.Errorf("%s: %T", c.name, err)
		}
	}
}

func TestLookTellsWhoCannotReadAFile(t *testing.T) {
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
	_, err := Spec{Name: "a", Source: path}.Look(t.Context())
	if err == nil || !strings.Contains(err.Error(), "permission denied: make it readable for uid") {
		t.Errorf("got %v", err)
	}
}

func TestLookTellsSizeAndFormat(t *testing.T) {
	leavesNothing(t)
	array := npy(header("'<f4'", "(3,)"), 12)
	size := int64(len(array) + 4)
	look, err := Spec{Name: "a", Source: writeFile(t, "x.npy", append(array, "more"...))}.Look(t.Context())
	want := Look{Format: format.Npy, DType: "<f4", Shape: []int64{3}, Size: size, SourceSize: size, Ext: ".npy"}
	if err != nil || !cmp.Equal(look, want) {
		t.Errorf("npy: %+v, %v", look, err)
	}
	look, err = Spec{Name: "a", Source: writeFile(t, "x", []byte("\x01\x02\x03"))}.Look(t.Context())
	if err != nil || !cmp.Equal(look, Look{Format: format.Raw, Size: 3, SourceSize: 3}) {
		t.Errorf("raw: %+v, %v", look, err)
	}
	for _, stream := range []string{"-", "cmd:exit 3", fifo(t)} { // opening a FIFO would wake its writer, or wait for one
		if look, err := (Spec{Name: "a", Source: stream}).Look(t.Context()); err != nil || !cmp.Equal(look, Look{Size: -1, SourceSize: -1}) {
			t.Errorf("%s: %+v, %v", stream, look, err)
		}
	}
}

func TestExtIsOnlyWhatIsPlain(t *testing.T) {
	for _, c := range []struct {
		source, format string
		kind           codec.Kind
		stream         bool
		want           string
	}{
		{"./emb.npy", format.Npy, codec.None, false, ".npy"},
		{"./geo.mmdb", format.Raw, codec.None, false, ".mmdb"},
		{"./emb", format.Npy, codec.None, false, ""},
		{"./a.b/emb", format.Raw, codec.None, false, ""},
		{"./emb.", format.Raw, codec.None, false, ""},
		{"./emb.~1~", format.Raw, codec.None, false, ""},
		{"./emb.1234567890123", format.Raw, codec.None, false, ""},
		{"-", format.Npy, codec.None, true, ".npy"},
		{"-", format.Npy, codec.None, false, ".npy"},
		{"-", format.Raw, codec.None, true, ""},
		{"cmd:cat x.bin", format.Raw, codec.None, true, ""},
		{"cmd:cat x.bin", format.Npy, codec.None, true, ".npy"},
		{"/dev/fd/63", format.Npy, codec.None, true, ".npy"},
		{"./emb.npy.zst", format.Npy, codec.Zstd, false, ".npy"},
		{"./emb.zst", format.Npy, codec.Zstd, false, ""},
		{"https://h/a/emb.npy.gz?X-Sig=a.b", format.Npy, codec.Gzip, false, ".npy"},
		{"https://h/a?x=y.npy", format.Raw, codec.None, false, ""},
		{"https://h/a", format.Npz, codec.None, false, ".npz"},
		{"./pipe.gguf", format.Raw, codec.None, true, ".gguf"},
	} {
		if got := (Spec{Name: "a", Source: c.source}).ext(c.format, c.kind, c.stream); got != c.want {
			t.Errorf("%s as %s: %q, want %q", c.source, c.format, got, c.want)
		}
	}
}

// Of a large zstd file not every block is looked at; its header says the size.
func TestALookAtALargeZstdFileSaysWhatItsHeaderSays(t *testing.T) {
	const size = 100 << 20
	path := filepath.Join(t.TempDir(), "x.zst")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = file.Write(w.EncodeAll(make([]byte, size), nil)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), file.Close()); err != nil {
		t.Fatal(err)
	}
	look, err := Spec{Name: "a", Source: path}.Look(t.Context())
	if err != nil || look.Size != size || !look.AtLeast || look.Codec != codec.Zstd {
		t.Errorf("%+v, %v", look, err)
	}
}
