// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: the endpoint answers while data is being loaded and shows how far it is; standard input and several sources at
// once are loaded whole; what a worker is told about an array is what numpy finds; nothing that a worker tries changes the
// data; and what a copy-on-write mapping has copied is counted to the page.

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/supervisor"
)

// sleeper is a worker that has nothing to do.
var sleeper = []string{"sleep", "1000"}

// fifo is a source that a test fills as it likes: cmd:cat NAME.
type fifo struct {
	t    *testing.T
	file *os.File
	sent []byte
}

func newFIFO(t *testing.T, dir, name string) *fifo {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	// Read-write: opening it waits for nobody, and cat sees its end when this end is closed.
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return &fifo{t: t, file: file}
}

func (f *fifo) send(n int) {
	f.t.Helper()
	piece := make([]byte, n)
	for i := range piece {
		piece[i] = byte(len(f.sent) + i*i)
	}
	f.sent = append(f.sent, piece...)
	err := f.file.SetWriteDeadline(time.Now().Add(patience))
	if err == nil {
		_, err = f.file.Write(piece)
	}
	if err != nil {
		f.t.Fatalf("preforkd does not read: %v", err)
	}
}

func (f *fifo) digest() string {
	digest := sha256.Sum256(f.sent)
	return hex.EncodeToString(digest[:])
}

func TestTheEndpointIsUpDuringTheLoad(t *testing.T) {
	dir := place(t)
	source := newFIFO(t, dir, "slow")
	f := start(t, spec{
		dir: dir, flags: []string{"-w", "2", "-d", "slow=cmd:cat slow", "--ready", "alive:10ms"}, command: sleeper,
	})
	for last := int64(0); last < 24*mib; {
		source.send(8 * mib)
		snap := f.until("progress", func(s *supervisor.Snapshot) bool { return len(s.Data) == 1 && s.Data[0].Loaded > last })
		last = snap.Data[0].Loaded
		if d := snap.Data[0]; d.Version != 0 || d.Size != nil || d.LoadedAt != nil || last > int64(len(source.sent)) {
			t.Errorf("data after %d bytes: %+v", len(source.sent), d)
		}
		if snap.Supervisor.State != supervisor.StateLoading || len(children(t, f.pid)) != 1 {
			t.Errorf("state %q, children %+v, want loading and the command alone", snap.Supervisor.State, children(t, f.pid))
		}
	}
	for path, want := range map[string]int{"/healthz": http.StatusOK, "/readyz": http.StatusServiceUnavailable} {
		if got, _, err := f.ask(path); got != want || err != nil {
			t.Errorf("%s during the load: %d, %v, want %d", path, got, err, want)
		}
	}
	source.file.Close()
	snap := f.untilDigested(2)
	if d := snap.Data[0]; d.Version != 1 || *d.Size != int64(len(source.sent)) || d.Loaded != *d.Size || *d.SHA256 != source.digest() {
		t.Errorf("data after the load: %+v, want %d bytes of %s", d, len(source.sent), source.digest())
	}
	if got, _, err := f.ask("/readyz"); got != http.StatusOK || err != nil {
		t.Errorf("/readyz after the load: %d, %v", got, err)
	}
	f.stop()
}

// cat f | preforkd -d x=-
func TestStandardInputIsASource(t *testing.T) {
	path, digest := blob(t, 32*mib)
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cat := exec.Command("cat", path)
	cat.Stdout = writer
	if err := cat.Start(); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	f := start(t, spec{flags: []string{"-w", "2", "-d", "x=-", "--ready", "alive:10ms"}, command: sleeper, stdin: reader})
	reader.Close()
	snap := f.untilDigested(2)
	if err := cat.Wait(); err != nil {
		t.Error(err)
	}
	if d := snap.Data[0]; *d.SHA256 != digest || *d.Size != 32*mib {
		t.Errorf("data: %+v, want %s", d, digest)
	}
	f.stop()
}

func TestDatasetsAreLoadedAtOnce(t *testing.T) {
	dir := place(t)
	path, digest := blob(t, 8*mib)
	flags := []string{"-w", "1", "--ready", "alive:10ms"}
	var sources []*fifo
	for _, name := range []string{"a", "b", "c"} {
		sources = append(sources, newFIFO(t, dir, name))
		flags = append(flags, "-d", name+"=cmd:cat "+name)
	}
	f := start(t, spec{dir: dir, flags: append(flags, "-d", "file="+path), command: sleeper})
	// The last one first: none waits for one before it.
	for i, source := range slices.Backward(sources) {
		source.send(8 * mib)
		f.until("progress of "+string(rune('a'+i)), func(s *supervisor.Snapshot) bool {
			return s.Supervisor.State == supervisor.StateLoading && s.Data[i].Loaded > 0
		})
	}
	for _, source := range sources {
		source.file.Close()
	}
	want := []string{"a " + sources[0].digest(), "b " + sources[1].digest(), "c " + sources[2].digest(), "file " + digest}
	var got []string
	for _, d := range f.untilDigested(1).Data {
		got = append(got, d.Name+" "+*d.SHA256)
	}
	if !slices.Equal(got, want) {
		t.Errorf("data\n%s\nwant, in the order of --data\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	f.stop()
}

func TestAWorkerFindsTheArrayAsItWasTold(t *testing.T) {
	array := newArray(4*mib, false)
	f := start(t, spec{
		flags:   []string{"-w", "1", "-d", "emb=" + array.save(t), "--ready", "notify"},
		command: []string{venv(t, "python"), script(t, "manifest.py")},
	})
	f.untilDigested(1)
	snap := f.untilExact(1)
	text, err := os.ReadFile(filepath.Join(f.dir, "found.json"))
	if err != nil {
		t.Fatal(err)
	}
	var found struct {
		Told struct {
			FD                         int
			Path, Format, DType, Order string
			SHA256                     *string
			Size, Version, Offset      int64
			Shape                      []int64
		}
		Path         string
		FD           int
		Size, Offset int64
		DType, Order string
		Shape        []int64
		Sum          int64
		Same         bool
		Refused      map[string]string
	}
	if err := json.Unmarshal(text, &found); err != nil {
		t.Fatal(err)
	}
	shape := []int64{(4*mib - npyOffset) / 64, 32}
	for what, ok := range map[string]bool{
		"numpy's view":    found.DType == "<i2" && slices.Equal(found.Shape, shape) && found.Order == "C" && found.Offset == npyOffset,
		"the variables":   found.Path == found.Told.Path && found.FD == found.Told.FD && found.Size == array.size(),
		"the manifest":    found.Told.DType == "<i2" && slices.Equal(found.Told.Shape, shape) && found.Told.Order == "C",
		"its offset":      found.Told.Offset == npyOffset && found.Told.Size == array.size(),
		"its version":     found.Told.Version == 1 && (found.Told.SHA256 == nil || *found.Told.SHA256 == *snap.Data[0].SHA256) && found.Told.Format == "npy",
		"the link's name": filepath.Base(found.Path) == "emb.v1.npy",
		"the content":     found.Sum == array.sum() && found.Same,
		"the stats":       snap.Data[0].DType == "<i2" && slices.Equal(snap.Data[0].Shape, shape),
		"what it maps":    value(snap.Workers[0].Data[0].COW) == 0 && value(snap.Workers[0].Data[0].RSS) == float64(array.size()),
	} {
		if !ok {
			t.Errorf("not as it should be: %s\nfound %s\nstats %+v, %+v", what, text, snap.Data[0], snap.Workers[0].Data[0])
		}
	}
	for _, try := range []string{"assign", "map writable", "write", "open to write", "truncate"} {
		if found.Refused[try] == "" {
			t.Errorf("a worker may %s", try)
		}
	}
	f.stop()
}

func TestCopiedPagesAreCountedExactly(t *testing.T) {
	const pages = 100
	array := newArray(8*mib, true)
	f := start(t, spec{
		flags:   []string{"-w", "2", "-d", "emb=" + array.save(t), "--ready", "notify"},
		command: []string{venv(t, "python"), script(t, "cow.py")},
		env:     []string{fmt.Sprint("PAGES=", pages)},
	})
	snap := f.untilExact(2)
	copied := int64(pages * os.Getpagesize())
	for _, w := range snap.Workers {
		want := int64(0)
		if w.ID == 0 {
			want = copied
		}
		if d := w.Data[0]; value(d.COW) != float64(want) || value(d.RSS) != float64(array.size()) {
			t.Errorf("worker %d: cow %v, rss %v, want %d and %d", w.ID, value(d.COW), value(d.RSS), want, array.size())
		}
	}
	m := snap.Memory
	if value(m.COW) != float64(copied) || value(m.Mapped) != float64(2*array.size()-copied) || m.Data != array.size() {
		t.Errorf("memory: cow %v, mapped %v, data %d", value(m.COW), value(m.Mapped), m.Data)
	}
	if want := float64(array.size()+copied) / float64(array.size()); value(m.Copies) != want {
		t.Errorf("copies = %v, want %v", value(m.Copies), want)
	}
	if want := float64(array.size() - copied); value(m.Saved) != want || value(m.SavedFull) != want {
		t.Errorf("saved %v, saved_full %v, want %v", value(m.Saved), value(m.SavedFull), want)
	}
	f.stop()
}
