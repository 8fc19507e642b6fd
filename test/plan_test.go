// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: `preforkd check` tells of each dataset, in text and in JSON, what it is, how large it will be unpacked, whether it
// fits and where workers will find it, which is where they then find it; and what its pages will be.

import (
	"encoding/json"
	stdmaps "maps" // maps is a helper here
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/preforkd/preforkd/supervisor"
)

func TestCheckTellsWhatEachDatasetWillBe(t *testing.T) {
	w := writeFormats(t, mib)
	dir := place(t)
	saveSQLite(t, filepath.Join(dir, "geo.sqlite"), 100)
	if err := os.WriteFile(filepath.Join(dir, "users.csv"), []byte("id,word\n1,a\n2,b\n3,c\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := newStore(t, noise(t, 3*mib))
	npy, err := os.ReadFile(w.path("emb.npy"))
	if err != nil {
		t.Fatal(err)
	}
	for _, ext := range []string{"gz", "zst", "xz", "lz4"} {
		w.pack(t, "emb.npy", ext)
	}
	run := filepath.Join(dir, "run")
	type row struct {
		source, text, format, codec, path string
		size                              int64 // at least, where fits is unknown; -1: only the load tells
		members                           int
	}
	length := func(name string) int64 {
		info, err := os.Stat(w.path(name))
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	rows := map[string]row{
		"npy":         {w.path("emb.npy"), `npy <f4 1024×256 +1\.0 MiB`, "npy", "", "npy.v1.npy", int64(len(npy)), 0},
		"npz":         {w.path("packed.npz"), `npz \(3 arrays\) +7\d\d KiB`, "npz", "", "npz.v1.npz", 0, 3},
		"safetensors": {w.path("model.safetensors"), `safetensors \(3 arrays\) +1\.0 MiB`, "safetensors", "", "safetensors.v1.safetensors", length("model.safetensors"), 3},
		"arrow":       {w.path("table.arrow"), `arrow +\d+ KiB`, "arrow", "", "arrow.v1.arrow", length("table.arrow"), 0},
		"stream":      {w.path("table.arrows"), `arrow-stream +\d+ KiB`, "arrow-stream", "", "stream.v1.arrows", length("table.arrows"), 0},
		"pk5":         {w.path("bundle.pk5"), `pk5 +\d+ KiB`, "pk5", "", "pk5.v1.pk5", length("bundle.pk5"), 0},
		"gz":          {w.path("emb.npy.gz"), `npy <f4 1024×256 \(gzip\) +≥ 1\.0 MiB`, "npy", "gzip", "gz.v1.npy", int64(len(npy)), 0},
		"zst":         {w.path("emb.npy.zst"), `npy <f4 1024×256 \(zstd\) +1\.0 MiB`, "npy", "zstd", "zst.v1.npy", int64(len(npy)), 0},
		"xz":          {w.path("emb.npy.xz"), `npy <f4 1024×256 \(xz\) +1\.0 MiB`, "npy", "xz", "xz.v1.npy", int64(len(npy)), 0},
		"lz4":         {w.path("emb.npy.lz4"), `npy <f4 1024×256 \(lz4\) +≥ 1\.0 MiB`, "npy", "lz4", "lz4.v1.npy", int64(len(npy)), 0},
		"csv":         {"users.csv", `raw +20 B`, "raw", "", "csv.v1.csv", 20, 0},
		"geo":         {"direct:geo.sqlite", `raw \(direct\) +[\d.]+ KiB`, "raw", "", filepath.Join(dir, "geo.sqlite"), -2, 0},
		"web":         {s.URL + "/x.bin", `– +–`, "", "", "", -1, 0},
		"made":        {"cmd:head -c 1M /dev/zero", `– +–`, "", "", "", -1, 0},
	}
	args := []string{"--run-dir", run, "--stats", "off", "-w", "1", "--ready", "alive:10ms"}
	for _, name := range slices.Sorted(stdmaps.Keys(rows)) {
		args = append(args, "-d", name+"="+rows[name].source)
	}
	args = append(append(args, "--"), sleeper...)
	f := &fleet{t: t, dir: dir}
	stdout, stderr, code := f.command(slices.Concat([]string{"check", "--json"}, args)...)
	var plan supervisor.Plan
	if err := json.Unmarshal([]byte(stdout), &plan); err != nil || code != 0 || len(plan.Problems) > 0 {
		t.Fatalf("exit code %d, %v\n%s%s", code, err, stdout, stderr)
	}
	text, stderr, code := f.command(append([]string{"check"}, args...)...)
	if code != 0 || stderr != "" {
		t.Errorf("exit code %d\n%s%s", code, text, stderr)
	}
	paths := map[string]string{}
	for _, d := range plan.Data {
		want := rows[d.Name]
		format, path := "", ""
		if d.Format != nil {
			format = *d.Format
		}
		if d.Path != nil {
			path = *d.Path
			paths[d.Name] = path
		}
		if want.path != "" && !filepath.IsAbs(want.path) {
			want.path = filepath.Join(run, "data", want.path)
		}
		// A gzip or lz4 stream says nowhere how much is in it: the header of its first array says what it is at least.
		atLeast := d.Codec == "gzip" || d.Codec == "lz4"
		fits := d.Fits != nil && *d.Fits || d.Fits == nil && atLeast
		if format != want.format || d.Codec != want.codec || path != want.path || d.Members != want.members || d.Direct != (d.Name == "geo") {
			t.Errorf("%s: %+v, format %q, path %q\nwant %+v", d.Name, d, format, path, want)
		}
		if known := d.Size != nil; want.size > 0 && (!known || *d.Size != want.size || !fits) || want.size == -1 && (known || d.Fits != nil) {
			t.Errorf("%s: size %v, fits %t, want %d", d.Name, value(d.Size), fits, want.size)
		}
		shown := path
		if shown == "" {
			shown = "–"
		}
		line := regexp.MustCompile(`(?m)^` + d.Name + ` +\S.* +` + want.text + ` +\d+ +` + regexp.QuoteMeta(shown) + `$`)
		if !line.MatchString(text) {
			t.Errorf("no line like %s", line)
		}
		if d.AtLeast != atLeast {
			t.Errorf("%s: at least: %t", d.Name, d.AtLeast)
		}
		room := `yes`
		if want.size < 0 || atLeast {
			room = `–`
		}
		if line := regexp.MustCompile(`(?m)^` + d.Name + ` +.+ +[\d.]+ [MG]iB +` + room + `$`); !line.MatchString(text) {
			t.Errorf("no line like %s", line)
		}
	}
	if t.Failed() || len(plan.Data) != len(rows) {
		t.Errorf("%d datasets, want %d\n%s", len(plan.Data), len(rows), text)
	}
	for _, d := range plan.Data {
		if d.Name == "web" && value(d.SourceSize) != 3*mib {
			t.Errorf("web: %v bytes to read", value(d.SourceSize)) // whether they are packed only the load tells
		}
	}
	if !strings.Contains(text, "\nhint: csv: it is CSV: every worker will parse its own private copy") || strings.Count(text, "\nhint: ") != 1 {
		t.Errorf("hints in\n%s", text)
	}

	// The pages, by the host's own setting.
	setting, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/shmem_enabled")
	if err == nil {
		chosen := regexp.MustCompile(`\[(\w+)\]`).FindStringSubmatch(string(setting))[1]
		line := regexp.MustCompile(`(?m)^huge pages +.*\(shmem_enabled=` + chosen + `\).*$`).FindString(text)
		plain := map[string]bool{"always": true, "within_size": true, "advise": true, "force": true}[chosen]
		if h := plan.HugePages; line == "" || h.Setting == nil || *h.Setting != chosen || h.Mode != "auto" || plain && chosen != "advise" && !h.Plain {
			t.Errorf("huge pages: %+v, %q, and the host says %s", plan.HugePages, line, setting)
		}
		if chosen == "never" && (!strings.Contains(line, "a worker's plain mmap is mapped by small ones") ||
			!strings.Contains(line, "echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled")) {
			t.Errorf("the line does not say what would help: %s", line)
		}
	}
	off, _, _ := f.command(slices.Concat([]string{"check", "--huge-pages", "off"}, args)...)
	if !regexp.MustCompile(`(?m)^huge pages +off`).MatchString(off) {
		t.Errorf("with --huge-pages off:\n%s", off)
	}
	if left, err := os.ReadDir(run); err == nil {
		t.Errorf("check has left %v", left)
	}

	// What it said is what run does: the files are where it said, in their sizes.
	flags := slices.Clone(args[4 : len(args)-len(sleeper)-1])
	running := start(t, spec{dir: dir, flags: flags, command: sleeper})
	snap := running.settled(1)
	for i, d := range snap.Data {
		p := plan.Data[i]
		if d.Name != p.Name || p.Format != nil && *d.Format != *p.Format || p.Size != nil && *d.Size != *p.Size || d.Codec != p.Codec {
			t.Errorf("run: %+v\ncheck: %+v", d, p)
		}
		if path := paths[d.Name]; path != "" {
			if info, err := os.Stat(path); err != nil || info.Size() != *d.Size {
				t.Errorf("%s is not at %s: %v", d.Name, path, err)
			}
		}
	}
	running.stop()
}
