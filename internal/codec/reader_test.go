// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package codec

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReaderGivesBackWhatTheProgramsPacked(t *testing.T) {
	for _, p := range packers() {
		for name, content := range contents() {
			t.Run(p.command+"/"+name, func(t *testing.T) {
				packed := p.pack(t, content)
				if kind := Detect(packed[:min(HeadSize, len(packed))]); kind != p.kind {
					t.Errorf("detected as %q", kind)
				}
				got, err := unpack(p.kind, bytes.NewReader(packed))
				if err != nil || !bytes.Equal(got, content) {
					t.Errorf("%d bytes of %d, %v", len(got), len(content), err)
				}
			})
		}
	}
}

// testdata/packed has what the programs make only if they are asked: optional header fields, many parts, legacy frames.
func TestReaderAgreesWithThePrograms(t *testing.T) {
	files, err := filepath.Glob("testdata/packed/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		kind := Detect(data)
		got, err := unpack(kind, bytes.NewReader(data))
		if err != nil || len(got) == 0 {
			t.Errorf("%s: %d bytes, %v", file, len(got), err)
		}
		cmd := exec.Command(string(kind), "-dc")
		if kind == Zstd {
			cmd.Args = append(cmd.Args, "--long=31")
		}
		cmd.Stdin = bytes.NewReader(data)
		if want, err := cmd.Output(); errors.Is(err, exec.ErrNotFound) {
			t.Logf("%s is not installed: %s is not compared", kind, file)
		} else if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, and %d by %s, %v", file, len(got), len(want), kind, err)
		}
	}
}

func TestReaderTakesWhatTheSourceGives(t *testing.T) {
	content := contents()["table"][:50_000]
	for _, p := range packers() {
		t.Run(p.command, func(t *testing.T) {
			packed := p.pack(t, content)
			for name, r := range map[string]io.Reader{
				"byte by byte":             iotest.OneByteReader(bytes.NewReader(packed)),
				"halves":                   iotest.HalfReader(bytes.NewReader(packed)),
				"the end with the last":    iotest.DataErrReader(bytes.NewReader(packed)),
				"nothing now and then":     &hesitant{r: bytes.NewReader(packed)},
				"pieces of 1 MiB and less": io.MultiReader(bytes.NewReader(packed[:33]), bytes.NewReader(packed[33:])),
			} {
				got, err := unpack(p.kind, r)
				if err != nil || !bytes.Equal(got, content) {
					t.Errorf("%s: %d bytes of %d, %v", name, len(got), len(content), err)
				}
			}
		})
	}
}

// hesitant gives 50 bytes or none, in turn.
type hesitant struct {
	r    io.Reader
	turn bool
}

func (h *hesitant) Read(p []byte) (int, error) {
	h.turn = !h.turn
	if h.turn {
		return 0, nil
	}
	return h.r.Read(p[:min(50, len(p))])
}

func TestReaderReadsAllParts(t *testing.T) {
	a, b := contents()["table"][:200_000], contents()["noise"][:300_000]
	want := bytes.Join([][]byte{a, {}, b, a}, nil)
	for _, p := range packers() {
		if p.command == "lz4 -l" { // has no end: what follows is taken for a block
			continue
		}
		t.Run(p.command, func(t *testing.T) {
			parts := [][]byte{p.pack(t, a), p.pack(t, nil), p.pack(t, b), p.pack(t, a)}
			got, err := unpack(p.kind, bytes.NewReader(bytes.Join(parts, nil)))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
			}
		})
	}
}

// Which of the two ways NewReader takes depends on the machine.
func TestZstdIsTheSameInOneStageAndInSeveral(t *testing.T) {
	content := contents()["table"]
	one := packer{Zstd, "zstd"}.pack(t, content)
	for _, stages := range []bool{false, true} {
		open := func(src *source) (io.Reader, func(), error) { return zstdReader(src, stages, maxWindow) }
		for n, ok := range map[int]bool{len(one): true, len(one) - 1: false, len(one) / 2: false, 2: false, 0: false} {
			r := &reader{kind: Zstd, src: newSource(bytes.NewReader(one[:n])), open: open}
			got, err := io.ReadAll(r)
			if ok && (err != nil || !bytes.Equal(got, content)) || !ok && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("stages %v, %d of %d bytes: %d bytes, %v", stages, n, len(one), len(got), err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
		for _, n := range []int{0, len(one) / 2} { // closed while it waits
			stalled, owner := io.Pipe()
			r := &reader{kind: Zstd, src: newSource(io.MultiReader(bytes.NewReader(one[:n]), stalled)), open: open}
			done := make(chan error, 1)
			go func() {
				_, err := io.Copy(io.Discard, r)
				done <- err
			}()
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			if err := <-done; !errors.Is(err, errClosed) {
				t.Errorf("stages %v, stalled after %d bytes: %v", stages, n, err)
			}
			if err := owner.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestReaderTakesPaddingOnlyWhereTheContainerHasIt(t *testing.T) {
	content := []byte("some content\n")
	for _, c := range []struct {
		packer packer
		behind string
		ok     bool
	}{
		{packer{Gzip, "gzip"}, "\x00", true},
		{packer{Gzip, "gzip"}, strings.Repeat("\x00", 5000), true},
		{packer{Gzip, "gzip"}, "\x00\x00x", false},
		{packer{Gzip, "gzip"}, "x", false},
		{packer{Gzip, "gzip"}, "\x1f\x8bxxxxxxxxxxxxxxxx", false},
		{packer{Zstd, "zstd"}, "\x00", false},
		{packer{Zstd, "zstd"}, "xyz", false},
		{packer{Zstd, "zstd"}, "garbage", false},
		{packer{Zstd, "zstd"}, "\x5a\x2a\x4d\x18\x03\x00\x00\x00abc", true},
		{packer{Zstd, "zstd"}, "\x5a\x2a\x4d\x18\x03\x00\x00\x00ab", false},
		{packer{LZ4, "lz4"}, "\x5a\x2a\x4d\x18\x03\x00\x00\x00abc", true},
		{packer{LZ4, "lz4"}, "x", false},
		{packer{LZ4, "lz4"}, "\x00\x00\x00\x00", false},
		{packer{LZ4, "lz4"}, "garbage", false},
		{packer{XZ, "xz"}, "\x00\x00\x00\x00", true},
		{packer{XZ, "xz"}, strings.Repeat("\x00", 4096), true},
		{packer{XZ, "xz"}, "\x00\x00\x00", false},
		{packer{XZ, "xz"}, "x", false},
		{packer{XZ, "xz"}, "YZYZYZYZYZYZYZYZ", false},
	} {
		packed := append(c.packer.pack(t, content), c.behind...)
		got, err := unpack(c.packer.kind, bytes.NewReader(packed))
		if (err == nil) != c.ok || c.ok && !bytes.Equal(got, content) {
			t.Errorf("%s and %.20q: %q, %v", c.packer.command, c.behind, got, err)
		}
	}
}

func TestSkippableFramesMayPrecedeBoth(t *testing.T) {
	content := []byte("some content\n")
	skip := "\x50\x2a\x4d\x18\x04\x00\x00\x00\xaa\xbb\xcc\xdd"
	for _, p := range []packer{{Zstd, "zstd"}, {LZ4, "lz4"}} {
		packed := append([]byte(skip), p.pack(t, content)...)
		for _, kind := range []Kind{p.kind, Detect(packed[:HeadSize])} {
			got, err := unpack(kind, bytes.NewReader(packed))
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("%s read as %s: %q, %v", p.command, kind, got, err)
			}
		}
	}
}

func TestNoneIsTheSourceAsItIs(t *testing.T) {
	got, err := unpack(None, strings.NewReader("as it is"))
	if err != nil || string(got) != "as it is" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestAnUnknownKindIsRefused(t *testing.T) {
	if _, err := NewReader("rar", strings.NewReader("")); err == nil {
		t.Error("taken")
	}
}

// Wherever a file is cut, it is told. Between two parts it is whole.
func TestReaderTellsWhatIsCutShort(t *testing.T) {
	content := contents()["table"][:250]
	for _, p := range []packer{
		{Gzip, "gzip"},
		{Zstd, "zstd -1"},
		{Zstd, "zstd -1 --no-check"},
		{Zstd, "pzstd -1"},
		{XZ, "xz -0"},
		{XZ, "xz -0 -T2 --block-size=150"},
		{LZ4, "lz4 -B4"},
		{LZ4, "lz4 -BD -B4"},
		{LZ4, "lz4 -BX -B4"}, // lz4 -l has no end: it is whole behind each block
	} {
		t.Run(p.command, func(t *testing.T) {
			part := p.pack(t, content)
			packed := bytes.Join([][]byte{part, part}, nil)
			whole := 0
			for n := range len(packed) {
				got, err := unpack(p.kind, bytes.NewReader(packed[:n]))
				switch {
				case err == nil && n > 0 && len(got) <= len(content):
					whole++ // pzstd's skippable frame before the second part makes it two places
				case !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "truncated"):
					t.Errorf("%d bytes of %d: %d bytes, %v", n, len(packed), len(got), err)
				}
			}
			if want := map[bool]int{true: 1, false: 3}[p.command != "pzstd -1"]; whole != want {
				t.Errorf("whole at %d places, want %d", whole, want)
			}
		})
	}
}

// Whatever byte is wrong, nobody gets other content without an error, where the container has a checksum.
func TestReaderTellsWhatIsDamaged(t *testing.T) {
	content := contents()["table"][:250]
	for _, p := range []packer{
		{Gzip, "gzip"},
		{Zstd, "zstd -1"},
		{XZ, "xz -0"},
		{XZ, "xz -0 -T2 --block-size=150"},
		{LZ4, "lz4 -B4"},
		{LZ4, "lz4 -BD -B4"},
	} {
		t.Run(p.command, func(t *testing.T) {
			packed := p.pack(t, content)
			told := 0
			for i := range packed {
				for _, change := range []byte{1, 0x80} {
					bad := bytes.Clone(packed)
					bad[i] ^= change
					got, err := unpack(p.kind, bytes.NewReader(bad))
					if err != nil {
						told++
					} else if !bytes.Equal(got, content) {
						t.Errorf("byte %d of %d with %#x changed: other content without an error", i, len(packed), change)
					}
				}
			}
			if told < len(packed) {
				t.Errorf("only %d of %d changes were told", told, 2*len(packed))
			}
		})
	}
}
