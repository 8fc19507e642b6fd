// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/preforkd/preforkd/internal/codec"
	"github.com/preforkd/preforkd/internal/format"
)

func TestLoadGivesTheSameBytesTheirDigestAndTheirMeaning(t *testing.T) {
	leavesNothing(t)
	for _, size := range []int{1, 5, 4095, 4096, 4097, digestBlock - 1, digestBlock + 1, 2<<20 - 1, 2<<20 + 1, 17<<20 + 13} {
		want := noise(size)
		began := time.Now()
		d := load(t, &Loader{}, Spec{Name: "a", Source: writeFile(t, "x.bin", want)})[0]
		sum := sha256.Sum256(want)
		got, err := d.Digest(t.Context())
		if !bytes.Equal(content(t, d), want) || err != nil || got != hex.EncodeToString(sum[:]) || d.SHA256 != "" {
			t.Errorf("%d bytes: other content, digest %s, %v", size, got, err)
		}
		if d.Name != "a" || d.Format != format.Raw || d.Ext != ".bin" || d.Segment.Size() != int64(size) || d.Size() != int64(size) {
			t.Errorf("%d bytes: %+v", size, d)
		}
		if d.At.Before(began) || d.Took <= 0 || d.Took > time.Since(began) {
			t.Errorf("%d bytes: at %v, took %v", size, d.At, d.Took)
		}
	}
	const data = 1200000
	array := npy(header("'<f4'", "(3, 100000)"), data)
	d := load(t, &Loader{}, Spec{Name: "emb", Source: writeFile(t, "emb.npy", array)})[0]
	want := format.Meta{Format: format.Npy, DType: "<f4", Shape: []int64{3, 100000}, Order: "C", Offset: int64(len(array) - data), Need: int64(len(array))}
	if !bytes.Equal(content(t, d), array) || !cmp.Equal(d.Meta, want) {
		t.Errorf("npy: %+v", d.Meta)
	}
	if all := load(t, &Loader{}); len(all) != 0 {
		t.Errorf("nothing asked, %d loaded", len(all))
	}
}

func TestLoadKeepsTheOrderOfManySources(t *testing.T) {
	leavesNothing(t)
	var specs []Spec
	for i := range 20 {
		text := fmt.Sprintf("content %d", i)
		source := "cmd:printf '" + text + "'"
		if i%2 == 0 {
			source = writeFile(t, "x", []byte(text))
		}
		specs = append(specs, Spec{Name: fmt.Sprintf("d%d", i), Source: source})
	}
	for i, d := range load(t, &Loader{Start: startCommand}, specs...) {
		if !d.Spec.Equal(specs[i]) || string(content(t, d)) != fmt.Sprintf("content %d", i) {
			t.Errorf("place %d: %+v", i, d)
		}
	}
}

// Four streams wait for a fifth, and that one for a file: on few CPUs this ends only if no stream takes a turn.
func TestStreamsDoNotStarveOthers(t *testing.T) {
	leavesNothing(t)
	specs := []Spec{{Name: "file", Source: writeFile(t, "x", noise(1<<20))}}
	var waiting []string
	for i := range 4 {
		waiting = append(waiting, fifo(t))
		specs = append(specs, Spec{Name: fmt.Sprintf("waiting%d", i), Source: "cmd:cat " + waiting[i]})
	}
	gate := fifo(t)
	specs = append(specs, Spec{Name: "last", Source: fmt.Sprintf("cmd:cat %s; for f in %s; do echo go > $f; done",
		gate, strings.Join(waiting, " "))})
	open := sync.OnceFunc(func() {
		if err := os.WriteFile(gate, []byte("go"), 0); err != nil { // opens once the last stream runs
			t.Error(err)
		}
	})
	l := &Loader{Start: startCommand, OnProgress: func(name string, p Progress) {
		if name == "file" && p.Loaded == p.Total {
			open()
		}
	}}
	for _, d := range load(t, l, specs...)[1:] {
		if text := string(content(t, d)); strings.TrimSpace(text) != "go" {
			t.Errorf("%s: %q", d.Name, text)
		}
	}
}

func TestProgressTellsWhatIsReadAndLoaded(t *testing.T) {
	leavesNothing(t)
	var mu sync.Mutex
	calls := map[string][]Progress{}
	l := &Loader{Start: startCommand, OnProgress: func(name string, p Progress) {
		mu.Lock()
		defer mu.Unlock()
		calls[name] = append(calls[name], p)
	}}
	const size = 20<<20 + 1
	array := npy(header("'|u1'", "(100,)"), 100)
	load(t, l, Spec{Name: "file", Source: writeFile(t, "x", noise(size))},
		Spec{Name: "stream", Source: fmt.Sprintf("cmd:head -c %d /dev/zero", size)},
		Spec{Name: "array", Source: "cmd:cat " + writeFile(t, "x", array)})
	for name, want := range map[string]Progress{
		"file": {size, size, size, size, codec.None}, "stream": {size, -1, size, -1, codec.None},
		"array": {int64(len(array)), -1, int64(len(array)), int64(len(array)), codec.None},
	} {
		got := calls[name]
		if len(got) < 2 || got[0].Loaded != 0 || got[len(got)-1] != want {
			t.Errorf("%s: %v, want the last to be %v", name, got, want)
			continue
		}
		for i, p := range got[1:] {
			if p.Total != want.Total || p.Loaded < got[i].Loaded || p.Read < got[i].Read {
				t.Errorf("%s: %v after %v", name, p, got[i])
			}
		}
	}
}

func TestLogHasOneLineForEachDataset(t *testing.T) {
	leavesNothing(t)
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, nil))
	l := &Loader{OnLoaded: func(d *Loaded) { d.Log(log, 1) }, Start: startCommand}
	load(t, l, Spec{Name: "emb", Source: "cmd:cat '" + writeFile(t, "secret", npy(header("'<f4'", "(3, 4)"), 48)) + "'"})
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	if rate, _ := line["rate"].(string); !strings.HasSuffix(rate, " GB/s") {
		t.Errorf("rate %q", rate)
	}
	delete(line, "time")
	delete(line, "rate")
	want := map[string]any{
		"level": "INFO", "msg": "loaded dataset", "name": "emb", "version": 1.0, "source": "cmd:cat …", "format": "npy",
		"dtype": "<f4", "shape": "(3, 4)", "size": "181 B", "huge": "0%",
	}
	if diff := cmp.Diff(want, line); diff != "" {
		t.Error(diff)
	}
}

func TestLoadRefusesAFileThatChangesWhileItIsRead(t *testing.T) {
	leavesNothing(t)
	for _, c := range []struct {
		name   string
		change func(path string) error
		want   string
	}{
		{"grows", func(path string) error { return os.Truncate(path, 9<<20) }, "grew beyond 8,388,608 bytes"},
		{"shrinks", func(path string) error { return os.Truncate(path, 1<<20) }, "shrank from 8,388,608 to 1,048,576 bytes"},
		{"is rewritten", func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte("x"), 0)
			return errors.Join(err, f.Close())
		}, "was changed while it was read"},
	} {
		path := writeFile(t, "x", noise(8<<20))
		old := time.Now().Add(-time.Hour)
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
		l := &Loader{OnProgress: func(_ string, p Progress) {
			if p.Loaded == 0 {
				if err := c.change(path); err != nil {
					t.Error(err)
				}
			}
		}}
		if got := refused(t, l, Spec{Name: "a", Source: path}); !strings.Contains(got, c.want) {
			t.Errorf("%s: %s", c.name, got)
		}
	}
}

func TestLoadChecksEverythingBeforeItReadsOrStartsAnything(t *testing.T) {
	leavesNothing(t)
	l := &Loader{
		Start: func(context.Context, string) (Producer, error) {
			t.Error("a command was started")
			return nil, errors.New("no")
		},
		OnProgress: func(name string, _ Progress) { t.Errorf("%s was begun", name) },
	}
	good := Spec{Name: "good", Source: writeFile(t, "x", noise(100))}
	command := Spec{Name: "command", Source: "cmd:true"}
	whole := npy(header("'<f4'", "(3,)"), 12)
	for _, c := range []struct {
		bad  Spec
		want string
	}{
		{Spec{Name: "bad", Source: "./missing"}, `dataset "bad": ./missing: no such file`},
		{Spec{Name: "bad", Source: writeFile(t, "t", whole[:len(whole)-4])}, "truncated npy"},
		{Spec{Name: "bad", Source: writeFile(t, "o", npy(header("'|O'", "()"), 8))}, "never unpickles"},
		{Spec{Name: "bad", Source: "-"}, `dataset "bad": standard input: is closed or empty`},
		{Spec{Name: "good", Source: "x"}, "two datasets named"},
		{Spec{Name: "Not a name", Source: "x"}, "it must match"},
		{Spec{Name: "bad", Source: "s3://u:secret@h/"}, "not supported"},
		{Spec{Name: "bad", Source: "direct:./missing"}, `dataset "bad": direct:./missing: no such file`},
	} {
		got := refused(t, l, good, command, c.bad)
		if !strings.Contains(got, c.want) || strings.Contains(got, "secret") {
			t.Errorf("%s: %s", c.bad.Source, got)
		}
	}
}
