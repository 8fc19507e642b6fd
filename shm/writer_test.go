// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package shm

// Filling: every size, every source, every page, every error.

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/sys/unix"
)

// checkSealed seals what w holds and compares all that can be said about it.
func checkSealed(t *testing.T, w *Writer, want []byte) {
	t.Helper()
	s, err := w.Seal()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.Size() != int64(len(want)) || w.Size() != s.Size() {
		t.Errorf("size %d, writer's %d, want %d", s.Size(), w.Size(), len(want))
	}
	if got := content(t, s); !bytes.Equal(got, want) {
		t.Errorf("%d bytes of other content, want %d", len(got), len(want))
	}
	checkHuge(t, s)
	m, err := s.Map()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(m.Bytes(), want) {
		t.Error("the map shows other content")
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// boundaries are sizes around whole pages, buffers and huge pages.
var boundaries = []int{
	1, 2, 4095, 4096, 4097, 8191, 8192, 8193, bufferSize - 1, bufferSize, bufferSize + 1, 2<<20 - 1, 2<<20 + 1,
}

func TestEveryPageIsWrittenWhateverTheSize(t *testing.T) {
	for _, size := range boundaries {
		for name, data := range map[string][]byte{"noise": noise(size), "zeros": make([]byte, size)} {
			t.Run(name, func(t *testing.T) { checkSealed(t, filled(t, data), data) })
		}
	}
}

func FuzzEverySizeAndStep(f *testing.F) {
	for _, size := range boundaries {
		f.Add(uint32(size), uint32(4096), size%2 == 0)
	}
	f.Fuzz(func(t *testing.T, size, step uint32, zeros bool) {
		data := make([]byte, 1+size%(3<<20))
		if !zeros {
			data = noise(len(data))
		}
		w := filled(t, nil)
		for rest := data; len(rest) > 0; {
			n := min(len(rest), int(1+step%(1<<20)), len(rest)/2+1)
			if _, err := w.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		checkSealed(t, w, data)
	})
}

// file is a real file with this content, opened.
func file(t *testing.T, data []byte) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestReadFromTakesEverySource(t *testing.T) {
	data := noise(3<<20 + 7)
	pipe := func(t *testing.T) io.Reader {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		go func() {
			_, _ = w.Write(data)
			w.Close()
		}()
		return r
	}
	for name, source := range map[string]func(*testing.T) io.Reader{
		"regular file":  func(t *testing.T) io.Reader { return file(t, data) },
		"pipe":          pipe,
		"memory":        func(*testing.T) io.Reader { return bytes.NewReader(data) },
		"short reads":   func(*testing.T) io.Reader { return iotest.HalfReader(bytes.NewReader(data)) },
		"data with EOF": func(*testing.T) io.Reader { return iotest.DataErrReader(bytes.NewReader(data)) },
	} {
		t.Run(name, func(t *testing.T) {
			w := filled(t, nil)
			if n, err := w.ReadFrom(source(t)); n != int64(len(data)) || err != nil {
				t.Fatalf("took %d of %d: %v", n, len(data), err)
			}
			checkSealed(t, w, data)
		})
	}
}

func TestReadFromStartsAtTheOffsetOfAFileAndAppends(t *testing.T) {
	data := noise(1<<20 + 9)
	f := file(t, data)
	if _, err := f.Seek(5000, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	w := filled(t, []byte("head"))
	if n, err := w.ReadFrom(f); n != int64(len(data)-5000) || err != nil {
		t.Fatalf("took %d: %v", n, err)
	}
	if _, err := w.Write([]byte("tail")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.ReadFrom(strings.NewReader("end")); err != nil {
		t.Fatal(err)
	}
	checkSealed(t, w, append(append([]byte("head"), data[5000:]...), "tailend"...))
}

func TestHolesOfASparseFileAreWritten(t *testing.T) {
	f := file(t, []byte("x"))
	if err := os.Truncate(f.Name(), 4<<20); err != nil {
		t.Fatal(err)
	}
	w := filled(t, nil)
	if _, err := w.ReadFrom(f); err != nil {
		t.Fatal(err)
	}
	checkSealed(t, w, append([]byte("x"), make([]byte, 4<<20-1)...))
}

func TestReadFromReadsWhatTheKernelCannotSend(t *testing.T) {
	f, err := os.Open("/proc/self/status") // a regular file of size 0; sendfile says EINVAL
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := filled(t, nil)
	if _, err := w.ReadFrom(f); err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 5)
	if _, err := w.ReadAt(head, 0); err != nil || string(head) != "Name:" {
		t.Errorf("got %q, %v", head, err)
	}
}

func TestReadFromReportsTheSourcesErrorAndKeepsCount(t *testing.T) {
	broken := errors.New("broken")
	w := filled(t, []byte("ab"))
	n, err := w.ReadFrom(io.MultiReader(strings.NewReader("cde"), iotest.ErrReader(broken)))
	if n != 3 || !errors.Is(err, broken) || w.Size() != 5 {
		t.Errorf("took %d, size %d, %v", n, w.Size(), err)
	}
	if want := `cannot fill segment "test": broken`; err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
	checkSealed(t, w, []byte("abcde"))
}

func TestReadFromRefusesADirectoryAndAClosedFile(t *testing.T) {
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if _, err := filled(t, nil).ReadFrom(dir); !errors.Is(err, unix.EISDIR) {
		t.Errorf("directory: %v", err)
	}
	closed := file(t, []byte("x"))
	closed.Close()
	if _, err := filled(t, nil).ReadFrom(closed); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("closed file: %v", err)
	}
}

func TestReadAtShowsWhatWasWrittenAndNoMore(t *testing.T) {
	w := filled(t, []byte("0123456789"))
	got := make([]byte, 4)
	if n, err := w.ReadAt(got, 3); n != 4 || err != nil || string(got) != "3456" {
		t.Errorf("%d bytes %q, %v", n, got, err)
	}
	n, err := w.ReadAt(got, 8)
	if n != 2 || string(got[:2]) != "89" || err != io.EOF { //nolint:errorlint // exactly io.EOF is promised
		t.Errorf("%d bytes %q, %v", n, got, err)
	}
	if _, err := w.Write([]byte("AB")); err != nil {
		t.Fatal(err)
	}
	checkSealed(t, w, []byte("0123456789AB"))
}

func TestBadNamesAreRefused(t *testing.T) {
	long := strings.Repeat("x", 250)
	for _, name := range []string{"", " ", "a b", "a/b", "tab\t", "new\nline", "nul\x00", "ü", long} {
		if w, err := Create(name, Options{}); err == nil {
			w.Close()
			t.Errorf("%q was accepted", name)
		} else if !strings.HasPrefix(err.Error(), "cannot create segment ") {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"a", "emb.npy-2_x", long[1:]} {
		w, err := Create(name, Options{})
		if err != nil {
			t.Error(err)
			continue
		}
		w.Close()
	}
}

func TestMemfdIsMadeWithoutTheFlagsThatAKernelDoesNotKnow(t *testing.T) {
	var asked []int
	old := func(_ string, flags int) (int, error) { // a kernel before 6.3
		asked = append(asked, flags)
		if flags&unix.MFD_NOEXEC_SEAL != 0 {
			return -1, unix.EINVAL
		}
		return 7, nil
	}
	if fd, err := memfd("x", old); fd != 7 || err != nil {
		t.Errorf("got %d, %v", fd, err)
	}
	if want := unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING; len(asked) != 2 || asked[1] != want {
		t.Errorf("asked for flags %x, want %x last", asked, want)
	}
	full := func(string, int) (int, error) { return -1, unix.EMFILE }
	if _, err := memfd("x", full); !errors.Is(err, unix.EMFILE) {
		t.Errorf("got %v", err)
	}
}

func TestNobodyElseMayOpenASegmentForWritingBeforeItIsSealed(t *testing.T) {
	info, err := filled(t, []byte("x")).file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o444 {
		t.Errorf("mode %v", info.Mode())
	}
}
