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
)

func TestLoadGivesTheSameBytesTheirDigestAndTheirMeaning(t *testing.T) {
	leavesNothing(t)
	for _, size := range []int{1, 5, 4095, 4096, 4097, bufferSize - 1, bufferSize, bufferSize + 1, 7*bufferSize + 13} {
		want := noise(size)
		began := time.Now()
		d := load(t, &Loader{}, Spec{"a", writeFile(t, "x.bin", want)})[0]
		sum := sha256.Sum256(want)
		if !bytes.Equal(content(t, d), want) || d.SHA256 != hex.EncodeToString(sum[:]) {
			t.Errorf("%d bytes: other content or digest", size)
		}
		if d.Name != "a" || d.Format != FormatRaw || d.Ext != ".bin" || d.Segment.Size() != int64(size) {
			t.Errorf("%d bytes: %+v", size, d)
		}
		if d.At.Before(began) || d.Took <= 0 || d.Took > time.Since(began) {
			t.Errorf("%d bytes: at %v, took %v", size, d.At, d.Took)
		}
	}
	const data = 1200000
	array := npy(header("'<f4'", "(3, 100000)"), data)
	d := load(t, &Loader{}, Spec{"emb", writeFile(t, "emb.npy", array)})[0]
	want := Meta{Format: FormatNpy, DType: "<f4", Shape: []int64{3, 100000}, Order: "C", Offset: int64(len(array) - data)}
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
		specs = append(specs, Spec{fmt.Sprintf("d%d", i), source})
	}
	for i, d := range load(t, &Loader{Start: startCommand}, specs...) {
		if d.Spec != specs[i] || string(content(t, d)) != fmt.Sprintf("content %d", i) {
			t.Errorf("place %d: %+v", i, d)
		}
	}
}

// Four streams wait for a fifth, and that one for a file: on few CPUs this ends only if no stream takes a turn.
func TestStreamsDoNotStarveOthers(t *testing.T) {
	leavesNothing(t)
	specs := []Spec{{"file", writeFile(t, "x", noise(1<<20))}}
	var waiting []string
	for i := range 4 {
		waiting = append(waiting, fifo(t))
		specs = append(specs, Spec{fmt.Sprintf("waiting%d", i), "cmd:cat " + waiting[i]})
	}
	gate := fifo(t)
	specs = append(specs, Spec{"last", fmt.Sprintf("cmd:cat %s; for f in %s; do echo go > $f; done",
		gate, strings.Join(waiting, " "))})
	l := &Loader{Start: startCommand, OnProgress: func(name string, loaded, total int64) {
		if name == "file" && loaded == total {
			if err := os.WriteFile(gate, []byte("go"), 0); err != nil { // opens once the last stream runs
				t.Error(err)
			}
		}
	}}
	for _, d := range load(t, l, specs...)[1:] {
		if text := string(content(t, d)); strings.TrimSpace(text) != "go" {
			t.Errorf("%s: %q", d.Name, text)
		}
	}
}

func TestProgressTellsLoadedAndTotal(t *testing.T) {
	leavesNothing(t)
	type call struct{ loaded, total int64 }
	var mu sync.Mutex
	calls := map[string][]call{}
	l := &Loader{Start: startCommand, OnProgress: func(name string, loaded, total int64) {
		mu.Lock()
		defer mu.Unlock()
		calls[name] = append(calls[name], call{loaded, total})
	}}
	size := int64(3*progressStep + 1)
	array := npy(header("'|u1'", "(100,)"), 100)
	load(t, l, Spec{"file", writeFile(t, "x", noise(int(size)))},
		Spec{"stream", fmt.Sprintf("cmd:head -c %d /dev/zero", size)},
		Spec{"array", "cmd:cat " + writeFile(t, "x", array)})
	want := map[string][]call{
		"file":   {{0, size}, {progressStep, size}, {2 * progressStep, size}, {3 * progressStep, size}, {size, size}},
		"stream": {{0, -1}, {progressStep, -1}, {2 * progressStep, -1}, {3 * progressStep, -1}, {size, -1}},
		"array":  {{0, int64(len(array))}, {int64(len(array)), int64(len(array))}},
	}
	if diff := cmp.Diff(want, calls, cmp.AllowUnexported(call{})); diff != "" {
		t.Error(diff)
	}
}

func TestLogHasOneLineForEachDataset(t *testing.T) {
	leavesNothing(t)
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, nil))
	l := &Loader{OnLoaded: func(d *Loaded) { d.Log(log, 1) }, Start: startCommand}
	d := load(t, l, Spec{"emb", "cmd:cat '" + writeFile(t, "secret", npy(header("'<f4'", "(3, 4)"), 48)) + "'"})[0]
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
		"dtype": "<f4", "shape": "(3, 4)", "size": "181 B", "sha256": d.SHA256[:12],
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
		l := &Loader{OnProgress: func(_ string, loaded, _ int64) {
			if loaded == 0 {
				if err := c.change(path); err != nil {
					t.Error(err)
				}
			}
		}}
		if got := refused(t, l, Spec{"a", path}); !strings.Contains(got, c.want) {
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
		OnProgress: func(name string, _, _ int64) { t.Errorf("%s was begun", name) },
	}
	good := Spec{"good", writeFile(t, "x", noise(100))}
	command := Spec{"command", "cmd:true"}
	whole := npy(header("'<f4'", "(3,)"), 12)
	for _, c := range []struct {
		bad  Spec
		want string
	}{
		{Spec{"bad", "./missing"}, `dataset "bad": ./missing: no such file`},
		{Spec{"bad", writeFile(t, "t", whole[:len(whole)-4])}, "truncated npy"},
		{Spec{"bad", writeFile(t, "o", npy(header("'|O'", "()"), 8))}, "never unpickles"},
		{Spec{"bad", "-"}, `dataset "bad": standard input: is closed or empty`},
		{Spec{"good", "x"}, "two datasets named"},
		{Spec{"Not a name", "x"}, "it must match"},
		{Spec{"bad", "https://u:secret@h/"}, "not supported"},
	} {
		got := refused(t, l, good, command, c.bad)
		if !strings.Contains(got, c.want) || strings.Contains(got, "secret") {
			t.Errorf("%s: %s", c.bad.Source, got)
		}
	}
}
