// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package shm

// Streams: whatever order of writing leaves the same bytes, in huge pages, and no byte of memory more.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

func TestAStreamIsInHugePagesAndTakesNoMoreThanItsSize(t *testing.T) {
	needHuge(t)
	for _, size := range []int{block - 1, block, block + 1, 2 * block, 5*block + 12345} {
		data := noise(size)
		for name, take := range map[string]func(w *Writer) error{
			"ReadFrom": func(w *Writer) error { return second(w.ReadFrom(bytes.NewReader(data))) },
			"short reads": func(w *Writer) error {
				return second(w.ReadFrom(iotest.HalfReader(iotest.DataErrReader(bytes.NewReader(data)))))
			},
			"one Write": func(w *Writer) error { return second(w.Write(data)) },
			"many Writes": func(w *Writer) error {
				for rest := data; len(rest) > 0; rest = rest[min(100_000, len(rest)):] {
					if _, err := w.Write(rest[:min(100_000, len(rest))]); err != nil {
						return err
					}
				}
				return nil
			},
		} {
			t.Run(name, func(t *testing.T) {
				w := empty(t, Options{})
				if err := take(w); err != nil {
					t.Fatal(err)
				}
				end, err := w.ReadAt(make([]byte, 2), int64(size)-1)
				if end != 1 || err != io.EOF { //nolint:errorlint // exactly io.EOF is promised
					t.Errorf("read %d bytes at the end, %v", end, err)
				}
				checkSealed(t, w, data)
				if want := blockDown(int64(size)); w.Huge() != want || w.Note() != "" {
					t.Errorf("%d bytes of %d are in huge pages, want %d; note %q", w.Huge(), size, want, w.Note())
				}
			})
		}
	}
}

func TestEveryWayToAppendKeepsEveryByte(t *testing.T) {
	data := noise(5 << 20)
	source := file(t, data)
	rapid.Check(t, func(r *rapid.T) {
		w, err := Create("test", Options{Huge: rapid.SampledFrom([]HugeMode{HugeAuto, HugeOff}).Draw(r, "mode")})
		if err != nil {
			r.Fatal(err)
		}
		defer w.Close()
		var want []byte
		for range rapid.IntRange(1, 4).Draw(r, "steps") {
			// Around the sizes where something changes, and anywhere.
			size := rapid.SampledFrom([]int{1, 4096, block - 5, block, 2 * block}).Draw(r, "size") +
				rapid.IntRange(0, 5).Draw(r, "more")
			piece := data[:size]
			switch rapid.IntRange(0, 3).Draw(r, "how") {
			case 0:
				_, err = w.Write(piece)
			case 1:
				_, err = w.ReadFrom(bytes.NewReader(piece))
			case 2:
				o := FillOptions{Threads: rapid.IntRange(1, 3).Draw(r, "threads")}
				err = w.Fill(t.Context(), source, 0, int64(size), o)
			case 3:
				err = w.Fill(t.Context(), source, 4<<20, int64(size)+1<<20, FillOptions{}) // too much
				if !errors.Is(err, io.ErrUnexpectedEOF) {
					r.Fatal(err)
				}
				piece, err = nil, nil
			}
			if err != nil {
				r.Fatal(err)
			}
			want = append(want, piece...)
		}
		if len(want) == 0 {
			return
		}
		s, err := w.Seal()
		if err != nil {
			r.Fatal(err)
		}
		defer s.Close()
		got := make([]byte, len(want)+1)
		n, err := s.ReadAt(got, 0)
		if n != len(want) || err != io.EOF || !bytes.Equal(got[:n], want) { //nolint:errorlint // exactly io.EOF
			r.Fatalf("%d bytes of %d, or others, %v", n, len(want), err)
		}
		if n, err := s.Allocated(); n != pages(int64(len(want))) || err != nil {
			r.Fatalf("%d bytes take %d, %v", len(want), n, err)
		}
		if got := hugeMapped(t, s.file, s.Size()); got != s.Huge() {
			r.Fatalf("%d bytes of %d are mapped by huge pages, Huge says %d", got, s.Size(), s.Huge())
		}
	})
}

func TestAnErrorInAStreamLeavesNothingMapped(t *testing.T) {
	broken := errors.New("broken")
	noLeak(t, func(t *testing.T) {
		for name, fail := range map[string]func(w *Writer) error{
			"source": func(w *Writer) error {
				return second(w.ReadFrom(io.MultiReader(strings.NewReader("x"), iotest.ErrReader(broken))))
			},
			"silent source": func(w *Writer) error { return second(w.ReadFrom(silent{})) },
			"Grow": func(w *Writer) error {
				w.grow = func(int64) error { return broken }
				return second(w.Write(make([]byte, block)))
			},
		} {
			data := noise(3<<20 + 1)
			w := filled(t, data)
			err := fail(w)
			if !errors.Is(err, broken) && !errors.Is(err, io.ErrNoProgress) {
				t.Errorf("%s: %v", name, err)
			}
			if err := noMapping(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			want := w.Size()
			s, err := w.Seal()
			if err != nil || s.Size() != want {
				t.Fatal(err)
			}
			if got := content(t, s); !bytes.Equal(got[:len(data)], data) {
				t.Errorf("%s: the content before the error is another", name)
			}
			s.Close()
		}
	})
}

// silent never gives anything.
type silent struct{}

func (silent) Read([]byte) (int, error) { return 0, nil }

// The last block may need only a part of a huge page: what is refused as one is asked for in small pages.
func TestAStreamUsesItsMemoryToTheLastPage(t *testing.T) {
	const size = 3*block + 5
	data := noise(size)
	for name, take := range map[string]func(w *Writer) error{
		"ReadFrom": func(w *Writer) error { return second(w.ReadFrom(bytes.NewReader(data))) },
		"Write":    func(w *Writer) error { return second(w.Write(data)) },
	} {
		t.Run(name, func(t *testing.T) {
			left := pages(size)
			w := empty(t, Options{Grow: func(n int64) error {
				if n > left {
					return errors.New("too much")
				}
				left -= n
				return nil
			}})
			if err := take(w); err != nil {
				t.Fatal(err)
			}
			checkSealed(t, w, data)
		})
	}
}

func TestAStreamStaysWithinTheLimitOfFileSizes(t *testing.T) {
	needHuge(t)
	out := run(t, child(t, "file-size", 0))
	if want := fmt.Sprint(3 * block); out != want {
		t.Errorf("%s bytes are in huge pages, want %s", out, want)
	}
}

// helpFileSize streams as much as a file may have, and prints how much of it is in huge pages.
func helpFileSize() error {
	const size = 3*block + 5
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: size, Max: size}); err != nil {
		return err
	}
	w, err := Create("test", Options{})
	if err != nil {
		return err
	}
	if _, err := w.ReadFrom(bytes.NewReader(noise(size))); err != nil {
		return err
	}
	s, err := w.Seal()
	if err != nil {
		return err
	}
	if s.Size() != size || w.Note() != "" {
		return fmt.Errorf("%d bytes, note %q", s.Size(), w.Note())
	}
	fmt.Print(s.Huge())
	return nil
}

// An npz is rewritten piece by piece.
func TestManySmallReadsMakeOneBuffer(t *testing.T) {
	w := empty(t, Options{})
	piece := noise(100)
	grown := testing.AllocsPerRun(100, func() {
		if _, err := w.ReadFrom(bytes.NewReader(piece)); err != nil {
			t.Error(err)
		}
	})
	if grown > 1 { // the reader
		t.Errorf("%v allocations for each", grown)
	}
}

func TestWithoutHugePagesEverythingIsWrittenAndTheNoteSaysWhy(t *testing.T) {
	needHuge(t)
	out := run(t, child(t, "no-huge", 0))
	if want := "the kernel gives this process no huge pages (PR_SET_THP_DISABLE)"; out != want {
		t.Errorf("the note is %q, want %q", out, want)
	}
}

// helpNoHuge switches huge pages off for itself, fills a segment in each way and prints the note.
func helpNoHuge() error {
	if err := unix.Prctl(unix.PR_SET_THP_DISABLE, 1, 0, 0, 0); err != nil {
		return err
	}
	data := noise(20<<20 + 3)
	source, err := os.CreateTemp("", "")
	if err != nil {
		return err
	}
	defer source.Close()
	if err := errors.Join(os.Remove(source.Name()), second(source.Write(data))); err != nil {
		return err
	}
	w, err := Create("test", Options{})
	if err != nil {
		return err
	}
	if err := errors.Join(
		w.Fill(context.Background(), source, 0, int64(len(data)), FillOptions{}),
		second(w.ReadFrom(bytes.NewReader(data))),
		second(w.Write(data)),
	); err != nil {
		return err
	}
	s, err := w.Seal()
	if err != nil {
		return err
	}
	got := make([]byte, s.Size())
	if _, err := s.ReadAt(got, 0); err != nil || !bytes.Equal(got, bytes.Repeat(data, 3)) || s.Huge() != 0 {
		return fmt.Errorf("other content, or %d bytes in huge pages, %w", s.Huge(), err)
	}
	fmt.Print(w.Note())
	return noMapping()
}

func TestNotesSayWhatIsMissing(t *testing.T) {
	for why, want := range map[error]string{
		unix.ENOMEM: "the kernel found no free huge page for 4 MiB: memory is short or fragmented",
		unix.EAGAIN: "the kernel refused huge pages for 4 MiB: " + unix.EAGAIN.Error(),
	} {
		p := pager{bytes: 6 << 20}
		p.count(why)
		if got := p.note(10<<20 + 5); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if got := p.note(6<<20 + 5); got != "" { // all that can be
			t.Errorf("got %q", got)
		}
	}
}

func TestHugePagesAreGivenUpAfterSeveralFailuresInARow(t *testing.T) {
	var p pager
	for range 3 {
		for range missesToGiveUp - 1 {
			p.count(unix.ENOMEM)
		}
		p.count(nil)
	}
	if off, _ := p.state(); off {
		t.Error("they were given up too early")
	}
	for range missesToGiveUp {
		p.count(unix.ENOMEM)
	}
	if off, _ := p.state(); !off {
		t.Error("they were not given up")
	}
}
