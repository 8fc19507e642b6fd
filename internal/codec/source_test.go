// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package codec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/iotest"
	"time"
)

// A source that fails is not taken for one that ends, wherever it is: between two parts too, and if its error is the one
// that a library takes for an end.
func TestErrorsOfTheSourceComeOut(t *testing.T) {
	content := contents()["table"][:100_000]
	for _, p := range packers() {
		t.Run(p.command, func(t *testing.T) {
			packed := p.pack(t, content)
			for _, failure := range []error{errors.New("the disk is gone"), io.ErrUnexpectedEOF, fmt.Errorf("cut off: %w", io.EOF)} {
				for _, n := range []int{0, 1, 5, 13, len(packed) / 2, len(packed) - 1, len(packed)} {
					r := io.MultiReader(bytes.NewReader(packed[:n]), iotest.ErrReader(failure))
					if _, err := unpack(p.kind, r); !errors.Is(err, failure) || err.Error() != failure.Error() {
						t.Errorf("after %d of %d bytes: %v, want %v", n, len(packed), err, failure)
					}
				}
			}
		})
	}
}

func TestASourceThatGivesNothingEnds(t *testing.T) {
	for _, kind := range []Kind{Gzip, Zstd, XZ, LZ4} {
		if _, err := unpack(kind, readerFunc(func([]byte) (int, error) { return 0, nil })); !errors.Is(err, io.ErrNoProgress) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// In every state: TestMain proves that nothing is left.
func TestCloseLeavesNothingBehind(t *testing.T) {
	content := contents()["noise"]
	for _, p := range packers() {
		t.Run(p.command, func(t *testing.T) {
			packed := p.pack(t, content)
			for _, n := range []int64{-1, 0, 1, 200_000, int64(len(content))} {
				r, err := NewReader(p.kind, bytes.NewReader(packed))
				if err != nil {
					t.Fatal(err)
				}
				if n >= 0 {
					if _, err := io.CopyN(io.Discard, r, n); err != nil {
						t.Fatal(err)
					}
				}
				for range 2 {
					if err := r.Close(); err != nil {
						t.Error(err)
					}
				}
				if _, err := r.Read(make([]byte, 1)); err == nil || err == io.EOF {
					t.Errorf("Read after Close: %v", err)
				}
			}
		})
	}
}

// A decoder that is stopped while it waits for the caller has nothing of it from the source.
func TestCloseIsNoDamage(t *testing.T) {
	r := &reader{kind: Gzip, src: newSource(bytes.NewReader(nil))}
	if err := r.judge(errClosed); !errors.Is(err, errClosed) || err.Error() != errClosed.Error() {
		t.Errorf("%v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// The pump ends because of a stop while somebody waits for its next chunk: that is a stop too.
func TestAStopIsToldByWhoeverSeesItFirst(t *testing.T) {
	s := &source{full: make(chan chunk), stopped: make(chan struct{})}
	close(s.full)
	if n, err := s.Read(make([]byte, 1)); n != 0 || !errors.Is(err, errClosed) {
		t.Errorf("%d, %v", n, err)
	}
}

// The source stalls, then: Close ends the Read that waits, without the source.
func TestCloseDoesNotWaitForTheSource(t *testing.T) {
	content := contents()["table"]
	for _, p := range packers() {
		t.Run(p.command, func(t *testing.T) {
			packed := p.pack(t, content)
			for _, n := range []int{0, 3, 100, len(packed) / 2, len(packed) - 1} {
				stalled, owner := io.Pipe()
				r, err := NewReader(p.kind, io.MultiReader(bytes.NewReader(packed[:n]), stalled))
				if err != nil {
					t.Fatal(err)
				}
				done := make(chan error, 1)
				go func() {
					_, err := io.Copy(io.Discard, r)
					done <- err
				}()
				if n == len(packed)/2 { // wait until the source stalls, at least once
					if _, err := owner.Write(packed[n : n+1]); err != nil {
						t.Fatal(err)
					}
				}
				if err := r.Close(); err != nil {
					t.Error(err)
				}
				select {
				case err := <-done:
					if !errors.Is(err, errClosed) {
						t.Errorf("after %d bytes: %v", n, err)
					}
				case <-time.After(20 * time.Second):
					t.Fatal("the Read still waits 20 s after Close")
				}
				if err := owner.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
