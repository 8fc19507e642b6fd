// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: files of every format, written by its own library and packed by every program, reach workers with equal values
// through the path they are given; read as docs/worker-contract.md says, none of 64 MiB becomes private, and the same measure
// sees the copies that other calls of these libraries make.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	stdmaps "maps" // maps is a helper here
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/preforkd/preforkd/supervisor"
)

// digests are of the arrays or columns of a file, by name.
type digests map[string]string

// written are files in every format, and what is in them.
type written struct {
	dir   string
	truth map[string]digests
}

// writeFormats has the libraries write their files of about so many bytes.
func writeFormats(t *testing.T, size int) written {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command(venv(t, "python"), script(t, "formats_make.py"), dir, fmt.Sprint(size/mib))
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "PYTHONPATH="+script(t, "../../clients/python/src"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	w := written{dir: dir}
	if err = errors.Join(err, json.Unmarshal(text, &w.truth)); err != nil {
		t.Fatalf("cannot write the files: %v\n%s", err, stderr.String())
	}
	return w
}

func (w written) path(name string) string { return filepath.Join(w.dir, name) }

// dataset is a file as a dataset with the file's name.
func (w written) dataset(name string) string {
	return strings.NewReplacer(".", "-").Replace(filepath.Base(name)) + "=" + w.path(name)
}

// packers are the programs, and what they add to a name.
func packers() map[string][]string {
	return map[string][]string{
		"gz": {"gzip", "-n", "-1", "-c"}, "zst": {"zstd", "-q", "-c"}, "xz": {"xz", "-0", "-T1", "-c"}, "lz4": {"lz4", "-q", "-c"},
	}
}

// pack makes NAME.EXT of a file with the program of that extension.
func (w written) pack(t *testing.T, name, ext string) (packed string) {
	t.Helper()
	words := append(slices.Clone(packers()[ext]), w.path(name))
	words[0] = tool(t, words[0])
	packed = name + "." + ext
	file, err := os.Create(w.path(packed))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdout = file
	if err := cmd.Run(); err != nil {
		t.Fatalf("%q: %v", words, err)
	}
	return packed
}

// found is what testdata/formats_read.py tells of one dataset.
type found struct {
	Digests digests
	Grew    int64
	Entry   struct {
		Path, Format string
		Members      map[string]struct{ Offset int64 }
		Schema       []struct{ Name, Type string }
	}
}

// readers starts n workers of formats_read.py over files. The returned function has them read, and gives what each has found.
func (w written) readers(t *testing.T, n int, files []string, flags ...string) (f *fleet, read func() []map[string]found) {
	t.Helper()
	flags = append(flags, "-w", fmt.Sprint(n), "--ready", "notify", "--start-timeout", "5m", "--stats-budget", "20%")
	for _, name := range files {
		flags = append(flags, "-d", w.dataset(name))
	}
	f = start(t, spec{flags: flags, command: []string{venv(t, "python"), script(t, "formats_read.py")}})
	f.until("workers that have imported", func(s *supervisor.Snapshot) bool { return len(withText(s, "imported")) == n })
	return f, func() []map[string]found {
		for _, pid := range mainPIDs(f.untilReady(n)) {
			if err := syscall.Kill(pid, syscall.SIGUSR1); err != nil {
				t.Fatal(err)
			}
		}
		f.until("workers that have read", func(s *supervisor.Snapshot) bool { return len(withText(s, "read")) == n })
		list := make([]map[string]found, n)
		for i := range list {
			text, err := os.ReadFile(filepath.Join(f.dir, fmt.Sprint(i, ".json")))
			if err = errors.Join(err, json.Unmarshal(text, &list[i])); err != nil {
				t.Fatal(err)
			}
		}
		return list
	}
}

func withText(s *supervisor.Snapshot, text string) []supervisor.Worker {
	return slices.DeleteFunc(ready(s), func(w supervisor.Worker) bool { return w.StatusText != text })
}

// equal tells of every difference between what was written and what a worker has found.
func (w written) equal(t *testing.T, files []string, found map[string]found) {
	t.Helper()
	for _, file := range files {
		name, _, _ := strings.Cut(w.dataset(file), "=")
		original := file
		for ext := range packers() {
			original = strings.TrimSuffix(original, "."+ext)
		}
		want, ok := w.truth[original]
		if got := found[name]; !ok || !stdmaps.Equal(got.Digests, want) {
			t.Errorf("%s: a worker found %v\nwant %v\nin %+v", name, got.Digests, want, got.Entry)
		}
	}
}

// originals are the files that every worker can share.
func originals() []string {
	return []string{
		"emb.npy", "stored.npz", "packed.npz", "model.safetensors", "table.arrow", "table.arrows", "plain.feather", "bundle.pk5",
	}
}

func TestEveryFormatIsReadByItsLibraryWithoutACopy(t *testing.T) {
	// What is unpacked is no other segment than what came as it is: one codec for each format is enough here.
	w := writeFormats(t, 64*mib)
	files := originals()
	for file, ext := range map[string]string{"emb.npy": "gz", "stored.npz": "zst", "model.safetensors": "lz4", "table.arrow": "zst"} {
		files = append(files, w.pack(t, file, ext))
	}
	// The figures are those of the last tick, in which a worker may still have been importing its libraries.
	ofNow := func(s *supervisor.Snapshot) bool {
		return len(ready(s)) == 2 && !slices.ContainsFunc(ready(s), func(worker supervisor.Worker) bool {
			return !(math.Abs(value(worker.Private)-float64(status(t, *worker.PID, "RssAnon"))) <= mib)
		})
	}
	// Worker 0 reads without copies, worker 1 with: what it must see in worker 1 is what it must not see in worker 0.
	f, read := w.readers(t, 2, files)
	before := f.until("the private memory before", ofNow)
	both := read()
	w.equal(t, files, both[0])
	for name, one := range both[0] {
		if one.Grew > 2*mib {
			t.Errorf("%s: reading it took %.1f MiB of private memory", name, float64(one.Grew)/mib)
		}
		for member, m := range one.Entry.Members {
			if one.Entry.Format == "npz" && m.Offset%int64(os.Getpagesize()) != 0 {
				t.Errorf("%s.%s begins at byte %d, which is no page's", name, member, m.Offset)
			}
		}
		names := columns(one.Entry.Schema)
		if strings.HasPrefix(one.Entry.Format, "arrow") && names != "id int64, score float64, word utf8" {
			t.Errorf("%s: the manifest has the columns %s", name, names)
		}
	}
	copied := 0
	for name, one := range both[1] {
		if one.Entry.Format == "npy" {
			continue // that numpy copies without mmap_mode nobody doubts; here it may even be shared
		}
		copied++
		if one.Grew < 40*mib {
			t.Errorf("%s: the library copied %.1f MiB, and about 48 or 64 were expected: is this measure blind?", name, float64(one.Grew)/mib)
		}
		if !stdmaps.Equal(one.Digests, both[0][name].Digests) {
			t.Errorf("%s: the library read %v, the manifest gave %v", name, one.Digests, both[0][name].Digests)
		}
	}
	if copied != 5 {
		t.Errorf("worker 1 copied %d datasets, want the 3 npz and the 2 safetensors", copied)
	}

	// And the same by /stats, for everything together: nearly 700 MiB of data.
	after := f.until("the private memory after", ofNow)
	grew := make([]float64, 2)
	for _, worker := range ready(after) {
		i := slices.IndexFunc(before.Workers, func(old supervisor.Worker) bool { return old.ID == worker.ID })
		grew[worker.ID] = value(worker.Private) - value(before.Workers[i].Private)
	}
	total := int64(0)
	for _, d := range after.Data {
		total += *d.Size
	}
	t.Logf("of %d MiB, worker 0 has made %.1f MiB private, worker 1 %.1f", total/mib, grew[0]/mib, grew[1]/mib)
	if grew[0] > 8*mib || grew[1] < 200*mib {
		t.Errorf("/stats: worker 0 has made %.1f MiB private, want next to nothing; worker 1 %.1f, want at least 200", grew[0]/mib, grew[1]/mib)
	}
	f.stop()
}

func columns(schema []struct{ Name, Type string }) string {
	var list []string
	for _, field := range schema {
		list = append(list, field.Name+" "+field.Type)
	}
	return strings.Join(list, ", ")
}

// Every format in every packing, through the path that workers are given.
func TestEveryPackingOfEveryFormatIsUnpacked(t *testing.T) {
	w := writeFormats(t, mib)
	var (
		mu    sync.Mutex
		wg    sync.WaitGroup
		files []string
	)
	kinds := map[string]string{"gz": "gzip", "zst": "zstd", "xz": "xz", "lz4": "lz4"}
	for ext := range packers() {
		wg.Go(func() {
			for _, file := range slices.Concat(originals(), []string{"zstd.arrow", "lz4.arrows", "default.feather"}) {
				packed := w.pack(t, file, ext)
				mu.Lock()
				files = append(files, packed)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	f, read := w.readers(t, 1, files)
	w.equal(t, files, read()[0])
	for _, d := range f.untilReady(1).Data {
		at := strings.LastIndexByte(d.Name, '-')
		if d.Codec != kinds[d.Name[at+1:]] {
			t.Errorf("%s: codec %q", d.Name, d.Codec)
		}
	}
	for _, file := range files { // the name that workers see has lost the suffix
		name, _, _ := strings.Cut(w.dataset(file), "=")
		ext := filepath.Ext(strings.TrimSuffix(file, filepath.Ext(file)))
		if _, err := os.Stat(filepath.Join(f.run, "data", name+".v1"+ext)); err != nil {
			t.Error(err)
		}
	}
	f.stop()
}

func TestStandardInputMayBePacked(t *testing.T) {
	w := writeFormats(t, mib)
	for file, ext := range map[string]string{"emb.npy": "zst", "packed.npz": "gz", "table.arrow": "lz4", "model.safetensors": "xz"} {
		t.Run(file+"."+ext, func(t *testing.T) {
			content, err := os.ReadFile(w.path(file))
			if err != nil {
				t.Fatal(err)
			}
			reader, writer, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			cat := exec.Command("cat", w.path(w.pack(t, file, ext)))
			cat.Stdout = writer
			if err := cat.Start(); err != nil {
				t.Fatal(err)
			}
			writer.Close()
			f := start(t, spec{flags: []string{"-w", "1", "-d", "x=-", "--ready", "alive:10ms"}, command: sleeper, stdin: reader})
			reader.Close()
			snap := f.until("the digest", func(s *supervisor.Snapshot) bool { return len(ready(s)) == 1 && s.Data[0].SHA256 != nil })
			if err := cat.Wait(); err != nil {
				t.Error(err)
			}
			d := snap.Data[0]
			if file == "packed.npz" {
				if *d.Format != "npz" || d.Members != 3 {
					t.Errorf("data: %+v", d)
				}
			} else if *d.SHA256 != digestOf(content) || d.Codec == "" || *d.Format == "raw" {
				t.Errorf("data: %+v, sha256 %s", d, *d.SHA256)
			}
			f.stop()
		})
	}
}
