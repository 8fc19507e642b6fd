// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

// Every codec around every format that is told apart, each packed by its own program.

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/preforkd/preforkd/internal/codec"
	"github.com/preforkd/preforkd/internal/format"
)

var packers = map[codec.Kind][]string{
	codec.Gzip: {"gzip", "-c"}, codec.Zstd: {"zstd", "-qc"}, codec.XZ: {"xz", "-0c"}, codec.LZ4: {"lz4", "-qc"},
}

var suffixes = map[codec.Kind]string{codec.Gzip: ".gz", codec.Zstd: ".zst", codec.XZ: ".xz", codec.LZ4: ".lz4"}

// packed packs a file with the codec's own program, beside it.
func packed(t *testing.T, kind codec.Kind, path string) string {
	t.Helper()
	program := packers[kind]
	if _, err := exec.LookPath(program[0]); err != nil {
		t.Skipf("needs %s: %v", program[0], err)
	}
	out, err := exec.Command(program[0], append(program[1:], path)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	path += suffixes[kind]
	if err := os.WriteFile(path, out, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// npz is an archive as numpy.savez_compressed writes it.
func npz(t *testing.T, arrays map[string][]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for name, array := range arrays {
		w, err := z.Create(name + ".npy")
		if err == nil {
			_, err = w.Write(array)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func safetensors(data int) []byte {
	text := fmt.Sprintf(`{"w":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}`, data, data)
	text += strings.Repeat(" ", 128-8-len(text))
	return append(append([]byte{byte(len(text)), 0, 0, 0, 0, 0, 0, 0}, text...), noise(data)...)
}

func TestEveryCodecAroundEveryFormat(t *testing.T) {
	for kind := range packers {
		for name, whole := range map[string][]byte{
			"x.npy": npy(header("'<f4'", "(300000,)"), 1200000), "x.safetensors": safetensors(100000), "x.bin": noise(1<<20 + 7),
			"x.npz": npz(t, map[string][]byte{"w": npy(header("'<f4'", "(3000,)"), 12000)}),
			"small": {1, 2, 3},
		} {
			t.Run(string(kind)+" "+name, func(t *testing.T) {
				leavesNothing(t)
				path := packed(t, kind, writeFile(t, name, whole))
				look, err := Spec{Name: "a", Source: path}.Look(t.Context())
				if err != nil || look.Codec != kind || look.Ext != filepath.Ext(name) {
					t.Errorf("look: %+v, %v", look, err)
				}
				for _, source := range []string{path, "cmd:cat " + path} {
					d := load(t, &Loader{Start: startCommand}, Spec{Name: "a", Source: source})[0]
					if d.Codec != kind || source == path && d.Ext != filepath.Ext(name) {
						t.Errorf("%s: %+v", source, d)
					}
					if look.Format != d.Format || look.Size >= 0 && look.Size != d.Size() {
						t.Errorf("%s was said to be %+v and is %s of %d bytes", source, look, d.Format, d.Size())
					}
					if name == "x.npz" {
						mapsAsTheyLie(t, d, map[string][]byte{"w": whole12000})
					} else if !bytes.Equal(content(t, d), whole) {
						t.Errorf("%s: other content", source)
					}
				}
			})
		}
	}
}

// whole12000 is the data of npy(…, 12000).
var whole12000 = npy("", 12000)[len(npy("", 0)):]

// mapsAsTheyLie checks that the arrays of an npz are where its members say, on page boundaries.
func mapsAsTheyLie(t *testing.T, d *Loaded, arrays map[string][]byte) {
	t.Helper()
	all := content(t, d)
	if d.Format != format.Npz || len(d.Members) != len(arrays) || d.Rewrite || d.SHA256 != "" {
		t.Fatalf("%+v", d.Meta)
	}
	for _, m := range d.Members {
		if m.Offset%4096 != 0 || !bytes.Equal(all[m.Offset:m.Offset+m.Size], arrays[m.Name]) {
			t.Errorf("%s at %d is another array", m.Name, m.Offset)
		}
	}
	z, err := zip.NewReader(bytes.NewReader(all), int64(len(all)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
}

func TestAnNpzIsRewrittenFromFilesAndStreams(t *testing.T) {
	leavesNothing(t)
	path := writeFile(t, "x.npz", npz(t, map[string][]byte{
		"one": npy(header("'<f4'", "(3000,)"), 12000), "two": npy(header("'|u1'", "(12000,)"), 12000),
	}))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(whole))
	free, _ := machine(t, 64<<20)
	for _, source := range []string{path, "-", "cmd:cat " + path} {
		l := &Loader{Start: startCommand, Stdin: reopened(t, path, 0), Free: free}
		d := load(t, l, Spec{Name: "a", Source: source, Options: Options{SHA256: sum}})[0]
		mapsAsTheyLie(t, d, map[string][]byte{"one": whole12000, "two": whole12000})
		if d.Ext != ".npz" && source != "-" {
			t.Errorf("%s: %q", source, d.Ext)
		}
	}
	d := load(t, &Loader{}, Spec{Name: "a", Source: path, Options: Options{Format: "raw"}})[0]
	if !cmp.Equal(d.Meta, format.Meta{Format: format.Raw}) {
		t.Errorf("%+v", d.Meta)
	}
}

func TestABombStopsWhereTheMemoryEnds(t *testing.T) {
	leavesNothing(t)
	for kind, size := range map[codec.Kind]string{codec.Zstd: "1G", codec.Gzip: "96M", codec.LZ4: "96M"} {
		if _, err := exec.LookPath(packers[kind][0]); err != nil {
			t.Skip(err)
		}
		path := filepath.Join(t.TempDir(), "bomb")
		// by a pipe: its size is not in it
		command := fmt.Sprintf("head -c %s /dev/zero | %s -1 > %s", size, strings.Join(packers[kind], " "), path)
		if out, err := exec.Command("/bin/sh", "-c", command).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		free, most := machine(t, 64<<20)
		for _, source := range []string{path, "cmd:cat " + path} {
			got := refused(t, &Loader{Start: startCommand, Free: free}, Spec{Name: "emb", Source: source})
			if !strings.HasPrefix(got, `cannot load dataset "emb": needs more than `) || !strings.Contains(got, " of memory can be used (bound by the limit of cgroup /x") {
				t.Errorf("%s, %s: %s", kind, source, got)
			}
			if most.Load() > 64<<20*95/100 {
				t.Errorf("%s: %d bytes were held", kind, most.Load())
			}
		}
	}
}

func TestWhatIsPackedAndSaysItsSizeIsRefusedBeforehand(t *testing.T) {
	leavesNothing(t)
	free, most := machine(t, 64<<20)
	for _, path := range []string{
		packed(t, codec.Zstd, writeFile(t, "x", make([]byte, 100<<20))),
		packed(t, codec.Gzip, writeFile(t, "x", npy(header("'|u1'", "(104857000,)"), 0))), // its header says so
	} {
		got := refused(t, &Loader{Free: free}, Spec{Name: "emb", Source: path})
		if !strings.HasPrefix(got, `cannot load dataset "emb": needs 100 MiB, but only 61 MiB`) || most.Load() > 0 {
			t.Errorf("%d bytes were held: %s", most.Load(), got)
		}
	}
}

func TestDamagedPackedContentIsRefused(t *testing.T) {
	leavesNothing(t)
	for kind := range packers {
		whole, err := os.ReadFile(packed(t, kind, writeFile(t, "x", noise(300000))))
		if err != nil {
			t.Fatal(err)
		}
		cut := writeFile(t, "cut", whole[:len(whole)/2])
		for _, source := range []string{cut, "cmd:cat " + cut} {
			l := &Loader{Start: startCommand}
			if got := refused(t, l, Spec{Name: "a", Source: source}); !strings.Contains(got, `cannot load dataset "a": `) {
				t.Error(got)
			} else {
				t.Log(got)
			}
		}
		// that it is cut off is only the consequence
		got := refused(t, &Loader{Start: startCommand}, Spec{Name: "a", Source: "cmd:cat " + cut + "; echo network >&2; exit 5"})
		if !strings.Contains(got, "exit status 5: network") {
			t.Errorf("%s: %s", kind, got)
		}
	}
}

func TestObjectsArePackedInVain(t *testing.T) {
	leavesNothing(t)
	path := packed(t, codec.Gzip, writeFile(t, "x.npy", npy(header("'|O'", "(3,)"), 100)))
	begun := false
	l := &Loader{OnProgress: func(string, Progress) { begun = true }}
	if got := refused(t, l, Spec{Name: "a", Source: path}); !strings.Contains(got, "never unpickles") || begun {
		t.Errorf("begun %v: %s", begun, got)
	}
}
