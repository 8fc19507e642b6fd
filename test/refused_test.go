// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: what is truncated, contradicts itself, cannot be shared or is not what was ordered never reaches a worker: preforkd
// ends with exit code 3 and says why, `check` too where it can see it; what unpacks to more than there is room for is refused
// with both figures; and each hint is given once.

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/preforkd/preforkd/internal/host/cgrouptest"
	"github.com/preforkd/preforkd/supervisor"
)

// refusedWith starts preforkd with flags and wants exit code 3, no worker, and this text.
func refusedWith(t *testing.T, s spec, says string) {
	t.Helper()
	s.command = sleeper
	f := start(t, s)
	f.exits(3)
	if text := f.output(); !regexp.MustCompile(says).MatchString(text) || strings.Contains(text, "worker started") {
		t.Errorf("it said:\n%s\nwant %s, and no worker", text, says)
	}
}

// keep writes a part of a file, or something like it, as a new file.
func (w written) keep(t *testing.T, name, as string, change func(content []byte) []byte) (path string) {
	t.Helper()
	content, err := os.ReadFile(w.path(name))
	if err == nil {
		err = os.WriteFile(w.path(as), change(content), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	return w.path(as)
}

func TestDataThatIsDamagedIsRefused(t *testing.T) {
	w := writeFormats(t, mib)
	objects, err := filepath.Abs("../internal/format/testdata/object.npz")
	if err != nil {
		t.Fatal(err)
	}
	most := func(content []byte) []byte { return content[:len(content)*2/3] }
	head := func(content []byte) []byte { return content[:40] }
	replaced := func(old, new string) func([]byte) []byte {
		return func(content []byte) []byte {
			changed := strings.Replace(string(content), old, new, 1)
			if changed == string(content) || len(old) != len(new) {
				t.Fatalf("the file does not hold %q", old)
			}
			return []byte(changed)
		}
	}
	digest := func(name string) string {
		content, err := os.ReadFile(w.path(name))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(content)
		return hex.EncodeToString(sum[:])
	}
	packedNpy, packedArrow := w.pack(t, "emb.npy", "gz"), w.pack(t, "table.arrow", "zst")
	for name, c := range map[string]struct {
		path, says string
		flags      []string
		unseen     bool // check does not see it
	}{
		"npy":         {path: w.keep(t, "emb.npy", "cut.npy", most), says: `truncated npy: its header says 1,048,704 bytes in all .*, but it has 699,136`},
		"npy header":  {path: w.keep(t, "emb.npy", "head.npy", head), says: `truncated npy: it ends within its header, after 40 bytes`},
		"npz":         {path: w.keep(t, "stored.npz", "cut.npz", most), says: `truncated npz: its directory, which stands at the end, is missing`},
		"packed npz":  {path: w.keep(t, "packed.npz", "cut2.npz", most), says: `truncated npz: its directory, which stands at the end, is missing`},
		"npz objects": {path: objects, says: `npz member "words": npy of Python objects \(dtype O\): preforkd never unpickles`},
		"safetensors": {path: w.keep(t, "model.safetensors", "cut.safetensors", most), says: `truncated safetensors: its header says [0-9,]+ bytes in all, but it has [0-9,]+`},
		"safetensors header that lies": {
			path: w.keep(t, "model.safetensors", "lies.safetensors", replaced("[1000]", "[1001]")),
			says: `damaged safetensors: tensor \S*"mask": shape \(?1001.* does not take the 1,000 bytes that its data_offsets give it`,
		},
		"safetensors dtype that lies": {
			path: w.keep(t, "model.safetensors", "wide.safetensors", replaced(`"I64"`, `"I32"`)), says: `damaged safetensors: tensor \S*"ids": shape .* does not take`,
		},
		"arrow":        {path: w.keep(t, "table.arrow", "cut.arrow", most), says: `truncated arrow: it does not end with ARROW1`},
		"arrow stream": {path: w.keep(t, "table.arrows", "cut.arrows", most), says: `truncated arrow-stream: it ends within the message at byte \d+`},
		"feather":      {path: w.keep(t, "plain.feather", "cut.feather", most), says: `truncated arrow`},
		"pk5":          {path: w.keep(t, "bundle.pk5", "cut.pk5", most), says: `truncated pk5: its header says [0-9,]+ bytes in all, but it has [0-9,]+`},
		"gzip":         {path: w.keep(t, packedNpy, "cut.npy.gz", most), says: `the gzip data is truncated`, unseen: true},
		"zstd":         {path: w.keep(t, packedArrow, "cut.arrow.zst", most), says: `the zstd data is truncated`, unseen: true},
		"sha256": {
			path: w.path("emb.npy"), flags: []string{"--data-opt", "x.sha256=" + strings.Repeat("0", 64)},
			says: `emb\.npy: sha256 is ` + digest("emb.npy") + `, expected 0{64}: it is another version, or damaged`, unseen: true,
		},
		// The digest is that of the file, not of what is in it.
		"sha256 of a packed file": {
			path: w.path(packedNpy), flags: []string{"--data-opt", "x.sha256=" + digest("emb.npy")},
			says: `emb\.npy\.gz: sha256 is ` + digest(packedNpy) + `, expected ` + digest("emb.npy"), unseen: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			says := `preforkd: cannot load dataset "x": .*` + c.says
			flags := append([]string{"-d", "x=" + c.path}, c.flags...)
			refusedWith(t, spec{flags: flags}, says)
			f := &fleet{t: t, dir: place(t)}
			check := []string{"check", "--stats", "off", "--run-dir", filepath.Join(f.dir, "run")}
			_, stderr, code := f.command(slices.Concat(check, flags, []string{"--"}, sleeper)...)
			if seen := code == 3 && regexp.MustCompile(says).MatchString(stderr); seen == c.unseen {
				t.Errorf("check: exit code %d, %q", code, stderr)
			}
		})
	}

	// And with the right one it is loaded.
	f := start(t, spec{
		flags: []string{"-w", "1", "-d", "x=" + w.path(packedNpy), "--data-opt", "x.sha256=" + digest(packedNpy), "--ready", "alive:10ms"}, command: sleeper,
	})
	snap := f.until("the digest of the content", func(s *supervisor.Snapshot) bool { return len(ready(s)) == 1 && s.Data[0].SHA256 != nil })
	if d := snap.Data[0]; *d.SHA256 != digest("emb.npy") || *d.Format != "npy" {
		t.Errorf("data: %+v, sha256 %s, want %s", d, *d.SHA256, digest("emb.npy"))
	}
	f.stop()
}

// bomb packs zeros with a program that writes to its standard output.
func bomb(t *testing.T, size int64, words ...string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "bomb")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := exec.Command(tool(t, words[0]), words[1:]...)
	cmd.Stdout = file
	zeros, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	defer zeros.Close()
	cmd.Stdin = io.LimitReader(zeros, size)
	if err := cmd.Run(); err != nil {
		t.Fatalf("%q: %v", words, err)
	}
	return path
}

func TestABombStopsAtTheLimit(t *testing.T) {
	const size = 1 << 30
	zstd, gzip := bomb(t, size, "zstd", "-q", "-1", "-c"), bomb(t, size, "gzip", "-1", "-c")
	told := bomb(t, size, "zstd", "-q", "-1", "-c", fmt.Sprint("--stream-size=", size))
	for name, c := range map[string]struct{ path, needs string }{
		"zstd": {zstd, `needs more than [0-9,.]+ (?:MiB|bytes)`}, "gzip": {gzip, `needs more than [0-9,.]+ (?:MiB|bytes)`},
		"zstd that says its size": {told, `needs 1\.0 GiB`}, // before a byte is unpacked
	} {
		t.Run(name+" in a cgroup", func(t *testing.T) {
			asRoot(t)
			dir := cgrouptest.New(t, limit)
			refusedWith(t, spec{through: enter(dir), flags: []string{"-d", "x=" + c.path}},
				`cannot load dataset "x": `+c.needs+`, but only [0-9,.]+ (MiB|bytes) of memory can be used \(bound by the limit of cgroup \S+`+
					filepath.Base(dir))
			if n := oomKills(t, dir); n > 0 {
				t.Errorf("the kernel killed %d processes", n)
			}
			if peak := charge(t, dir); strings.HasPrefix(name, "zstd that") && peak > limit/2 {
				t.Errorf("%d bytes were charged", peak)
			}
		})
		t.Run(name+" by RLIMIT_FSIZE", func(t *testing.T) {
			// 64 MiB in units of 512 bytes. A write beyond it would be SIGXFSZ.
			refusedWith(t, spec{through: []string{"/bin/sh", "-c", `ulimit -f 131072 && exec "$0" "$@"`}, flags: []string{"-d", "x=" + c.path}},
				`cannot load dataset "x": `+c.needs+`, but a file may have only (?:64 MiB|67,108,864 bytes) here, .*RLIMIT_FSIZE`)
		})
	}
}

func TestAHintIsGivenOnce(t *testing.T) {
	dir := place(t)
	w := writeFormats(t, mib)
	save := func(release int) {
		t.Helper()
		program := `
import csv, json, pickle, sys
import numpy as np, pyarrow as pa, pyarrow.parquet, pyarrow.feather
n = 1000 + int(sys.argv[1])
rows = [{"id": i, "word": f"word {i % 7}"} for i in range(n)]
with open("users.csv", "w") as f:
    out = csv.DictWriter(f, ["id", "word"]); out.writeheader(); out.writerows(rows)
with open("users.json", "w") as f:
    json.dump(rows, f)
with open("users.pickle", "wb") as f:
    pickle.dump(rows, f)
pa.parquet.write_table(pa.Table.from_pylist(rows), "users.parquet")
pa.feather.write_feather(pa.Table.from_pylist(rows), "users.feather")
`
		cmd := exec.Command(venv(t, "python"), "-c", program, fmt.Sprint(release))
		cmd.Dir = dir
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	}
	save(1)
	hints := map[string]string{
		"csv": "it is CSV: every worker will parse its own private copy", "json": "it is JSON: every worker will parse its own private objects",
		"pickle": "it is a pickle: every worker will build its own private objects", "parquet": "it is Parquet: every worker will decode its own private copy",
		"feather": "(?i)compressed.*(lz4|private)",
	}
	flags := []string{"-w", "1", "--ready", "alive:10ms", "-d", "good=" + w.path("table.arrow"), "-d", "npy=" + w.path("emb.npy")}
	for kind := range hints {
		flags = append(flags, "-d", kind+"=users."+kind)
	}
	f := start(t, spec{dir: dir, flags: flags, command: sleeper})
	f.settled(1)
	once := func(when string) {
		t.Helper()
		given := map[string][]string{}
		for _, line := range f.logged("workers will not share all of a dataset") {
			name, hint := fmt.Sprint(line["dataset"]), fmt.Sprint(line["hint"])
			given[name] = append(given[name], hint)
		}
		for kind, want := range hints {
			if len(given[kind]) != 1 || !regexp.MustCompile(want).MatchString(given[kind][0]) {
				t.Errorf("%s: hints for %s: %q, want one like %s", when, kind, given[kind], want)
			}
		}
		if len(given) != len(hints) {
			t.Errorf("%s: hints for %v", when, given)
		}
	}
	once("after the start")
	f.must("reload")
	once("after a reload of the same")
	save(2)
	if text := f.must("reload"); !strings.Contains(text, "csv is now version 2") || !strings.Contains(text, "feather is now version 2") {
		t.Errorf("reload said %q", text)
	}
	once("after a reload of new versions")
	f.stop()
}
