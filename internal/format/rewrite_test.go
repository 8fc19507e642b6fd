// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package format

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRewritingFindsDamage(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		at   func(b []byte) // where it is damaged
		want string
	}{
		"stored data": {
			"stored.npz", func(b []byte) { b[400] ^= 1 },
			`npz member "emb" is damaged: its checksum is`,
		},
		"packed data": {
			"packed.npz", func(b []byte) { b[600] ^= 0x55 },
			`member "emb"`,
		},
		"checksum": {
			"stored.npz", func(b []byte) { b[bytes.Index(b, []byte("PK\x01\x02"))+16] ^= 1 },
			`npz member "emb" is damaged: its checksum is`,
		},
		"shorter than said": {
			"packed.npz", func(b []byte) { b[bytes.Index(b, []byte("PK\x01\x02"))+24]++ },
			`truncated npz: member "emb" ends after`,
		},
	} {
		b := bytes.Clone(file(t, c.file))
		c.at(b)
		err := RewriteNpz(io.Discard, bytes.NewReader(b), int64(len(b)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	array := string(npy(header("'<f4'", "(3,)"), 12))
	b := zipped(t, "a.npy:", array+"\x00")
	b[bytes.Index(b, []byte("PK\x01\x02"))+24]--
	err := RewriteNpz(io.Discard, bytes.NewReader(b), int64(len(b)))
	if want := `npz member "a": is longer than its directory says`; err == nil || err.Error() != want {
		t.Errorf("%v, want %q", err, want)
	}
	if err := RewriteNpz(io.Discard, strings.NewReader("PK\x03\x04"), 4); err == nil {
		t.Error("what is no npz was rewritten")
	}
}

func TestRewritingReportsItsWriter(t *testing.T) {
	b := file(t, "packed.npz")
	full := errors.New("full")
	for room := 0; room < len(rewritten(t, "packed.npz", b)); room += 331 {
		if err := RewriteNpz(&small{room, full}, bytes.NewReader(b), int64(len(b))); !errors.Is(err, full) {
			t.Fatalf("with room for %d bytes: %v", room, err)
		}
	}
}

// small is a writer with room for so many bytes.
type small struct {
	room int
	err  error
}

func (s *small) Write(p []byte) (int, error) {
	if len(p) > s.room {
		return s.room, s.err
	}
	s.room -= len(p)
	return len(p), nil
}

// Sizes and offsets of 4 GiB need other fields. Here small ones need them too, so that every reader can be asked:
// archive/zip, unzip, and numpy, which must load the arrays of testdata and map them by what Inspect says.
func TestRewrittenNpzIsReadByEveryone(t *testing.T) {
	dir := t.TempDir()
	var cases strings.Builder
	for _, name := range []string{"stored.npz", "packed.npz"} {
		b := file(t, name)
		for _, big := range []int64{0, 1000, 10000, zip64Size} {
			p, err := planNpz(bytes.NewReader(b), int64(len(b)), big)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if err := p.write(&out); err != nil || int64(out.Len()) != p.size {
				t.Fatalf("wrote %d of %d bytes: %v", out.Len(), p.size, err)
			}
			sameFiles(t, name, b, out.Bytes())
			meta := must(t, name, out.Bytes())
			if meta.Rewrite {
				t.Errorf("%s, zip64 from %d: %+v", name, big, meta)
			}
			path := filepath.Join(dir, fmt.Sprint(big)+name)
			if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			if unzip, err := exec.LookPath("unzip"); err == nil {
				run(t, unzip, "-tqq", path)
			}
			fmt.Fprintf(&cases, "(%q, %q, [", path, filepath.Join("testdata", name))
			for _, m := range meta.Members {
				fmt.Fprintf(&cases, "(%q, %s, %s, %q, %d, %d), ", m.Name, dtypeArg(m.DType), ShapeText(m.Shape), m.Order,
					m.Offset, m.Size)
			}
			cases.WriteString("]), ")
		}
	}
	run(t, python(t, "numpy"), "-c", `
import zipfile, numpy as np
for path, original, members in [`+cases.String()+`]:
    assert zipfile.ZipFile(path).testzip() is None
    got, want = np.load(path), np.load(original)
    assert got.files == want.files == [m[0] for m in members], got.files
    for name, dtype, shape, order, offset, size in members:
        np.testing.assert_array_equal(got[name], want[name])
        assert want[name].nbytes == size, (name, size)
        if size:
            mapped = np.memmap(path, np.dtype(dtype), "r", offset, shape, order)
            np.testing.assert_array_equal(mapped, want[name])
            assert mapped.flags.aligned and mapped.dtype == want[name].dtype
`)
}

// dtypeArg is a dtype as Python code.
func dtypeArg(dtype string) string {
	if strings.HasPrefix(dtype, "[") {
		return dtype
	}
	return fmt.Sprintf("%q", dtype)
}

// A member of 4 GiB and one behind it, of which only what is not zero is kept.
func TestNpzBeyond4GiB(t *testing.T) {
	const data = 4<<30 + 8192
	big := string(npy(header("'|u1'", fmt.Sprintf("(%d,)", int64(data))), 0))
	last := string(npy(header("'<f4'", "(3,)"), 12))
	small := zipped(t, "a.npy", last, "b.npy", last)
	p, err := planNpz(bytes.NewReader(small), int64(len(small)), zip64Size)
	if err != nil {
		t.Fatal(err)
	}
	// The plan of two small arrays becomes that of a large one and a small one.
	a, b := &p.members[0], &p.members[1]
	a.UncompressedSize64 = uint64(len(big) + data)
	a.npy.Offset = int64(len(big))
	if err := p.place(); err != nil {
		t.Fatal(err)
	}
	var out sparse
	out.add(a.header, p.localHeader(*a))
	out.add(out.size, []byte(big))
	out.add(b.header, p.localHeader(*b))
	out.add(out.size, []byte(last))
	out.add(p.directory, append(append(p.directoryHeader(*a), p.directoryHeader(*b)...), p.end()...))
	if out.size != p.size || b.header < data {
		t.Fatalf("%d of %d bytes; the second member at %d", out.size, p.size, b.header)
	}
	meta, err := Inspect(&out, out.size)
	want := []Member{
		{"a", "|u1", []int64{data}, "C", pageAlign, data},
		{"b", "<f4", []int64{3}, "C", (b.header + pageAlign) / pageAlign * pageAlign, 12},
	}
	if err != nil || meta.Rewrite || !cmp.Equal(meta.Members, want) {
		t.Fatalf("%v: %+v", err, meta)
	}
	// Python's zipfile and numpy read the headers; the file has holes.
	path := filepath.Join(t.TempDir(), "big.npz")
	out.save(t, path)
	run(t, python(t, "numpy"), "-c", `
import sys, numpy as np
z = np.load(sys.argv[1])
assert z.files == ["a", "b"]
i = z.zip.getinfo("a.npy")
assert i.file_size == i.compress_size > 2**32, i
assert z["b"].shape == (3,)
with z.zip.open("a.npy") as f:
    np.lib.format.read_magic(f)
    assert np.lib.format.read_array_header_1_0(f)[0] == (`+fmt.Sprint(int64(data))+`,)
`, path)
}

// sparse is content that is zero but for a few pieces.
type sparse struct {
	at     []int64
	pieces [][]byte
	size   int64
}

func (s *sparse) add(off int64, b []byte) {
	s.at, s.pieces, s.size = append(s.at, off), append(s.pieces, b), max(s.size, off+int64(len(b)))
}

func (s *sparse) ReadAt(p []byte, off int64) (int, error) {
	n := int(min(int64(len(p)), s.size-off))
	if n <= 0 {
		return 0, io.EOF
	}
	clear(p[:n])
	for i, at := range s.at {
		if piece := s.pieces[i]; at < off+int64(n) && off < at+int64(len(piece)) {
			copy(p[max(at-off, 0):n], piece[max(off-at, 0):])
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (s *sparse) save(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i, at := range s.at {
		if _, err := f.WriteAt(s.pieces[i], at); err != nil {
			t.Skipf("files of 4 GiB cannot be made here: %v", err)
		}
	}
}
