// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/format"
)

// stdin is a pipe in blocking mode, as a shell gives it, that is fed by a goroutine until done.
func stdin(t *testing.T, feed func(w *os.File)) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Fd() // blocking from here on
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		feed(w)
		_ = w.Close()
	}()
	t.Cleanup(func() {
		_ = r.Close()
		<-fed
	})
	return r
}

func TestStandardInputIsReadToItsEnd(t *testing.T) {
	leavesNothing(t)
	array := npy(header("'<f4'", "(250000,)"), 1000000)
	for name, input := range map[string]*os.File{
		"pipe": stdin(t, func(w *os.File) {
			for rest := array; len(rest) > 0; {
				n := min(1000, len(rest)) // many small writes
				if _, err := w.Write(rest[:n]); err != nil {
					t.Error(err)
				}
				rest = rest[n:]
			}
		}),
		"file":              reopened(t, writeFile(t, "x", array), 0),
		"file, partly read": reopened(t, writeFile(t, "x", append([]byte("consumed"), array...)), 8),
	} {
		d := load(t, &Loader{Stdin: input}, Spec{Name: "a", Source: "-"})[0]
		if string(content(t, d)) != string(array) {
			t.Errorf("%s: other content", name)
		}
		if d.Format != format.Npy || d.Ext != ".npy" {
			t.Errorf("%s: %+v", name, d)
		}
		if _, err := input.Stat(); err != nil {
			t.Errorf("%s: standard input was closed: %v", name, err)
		}
	}
}

func reopened(t *testing.T, path string, offset int64) *os.File {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if _, err := f.Seek(offset, 0); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestStandardInputThatGivesNothingIsRefused(t *testing.T) {
	leavesNothing(t)
	closed := reopened(t, os.DevNull, 0)
	_ = closed.Close()
	for name, input := range map[string]*os.File{
		"none":       nil,
		"closed":     closed,
		"null":       reopened(t, os.DevNull, 0),
		"empty pipe": stdin(t, func(*os.File) {}),
		"empty file": reopened(t, writeFile(t, "x", nil), 0),
	} {
		got := refused(t, &Loader{Stdin: input}, Spec{Name: "a", Source: "-"})
		if !strings.Contains(got, "standard input: is closed or empty") {
			t.Errorf("%s: %s", name, got)
		}
	}
	got := refused(t, &Loader{Stdin: terminal(t)}, Spec{Name: "a", Source: "-"})
	if !strings.Contains(got, "is a terminal: pipe the data") {
		t.Errorf("terminal: %s", got)
	}
}

func terminal(t *testing.T) *os.File {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo terminal: %v", err)
	}
	t.Cleanup(func() { _ = master.Close() })
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo terminal: %v", err)
	}
	t.Cleanup(func() { _ = slave.Close() })
	return slave
}

func TestATruncatedNpyStreamIsRefused(t *testing.T) {
	leavesNothing(t)
	array := npy(header("'<f4'", "(250000,)"), 1000000)
	for cut, want := range map[int]string{
		7:              "truncated npy: it ends within its header, after 7 bytes",
		len(array) - 1: "its header says 1,000,136 bytes in all (shape (250000,) of <f4), but it has 1,000,135",
	} {
		input := stdin(t, func(w *os.File) { _, _ = w.Write(array[:cut]) })
		if got := refused(t, &Loader{Stdin: input}, Spec{Name: "a", Source: "-"}); !strings.Contains(got, want) {
			t.Errorf("cut after %d: %s", cut, got)
		}
	}
}

// The header alone tells: the writer never has to send the body, and is not waited for.
func TestABadHeaderEndsAStreamAtOnce(t *testing.T) {
	leavesNothing(t)
	done := make(chan struct{})
	input := stdin(t, func(w *os.File) {
		_, _ = w.Write(npy(header("'|O'", "(250000,)"), 0))
		<-done
	})
	if got := refused(t, &Loader{Stdin: input}, Spec{Name: "a", Source: "-"}); !strings.Contains(got, "never unpickles") {
		t.Error(got)
	}
	close(done)
}

func TestAFIFOIsReadLikeStandardInput(t *testing.T) {
	leavesNothing(t)
	path := fifo(t)
	want := noise(300000)
	writer := exec.Command("/bin/sh", "-c", "cat "+writeFile(t, "x", want)+" > "+path)
	if err := writer.Start(); err != nil {
		t.Fatal(err)
	}
	d := load(t, &Loader{}, Spec{Name: "a", Source: path})[0]
	if err := writer.Wait(); err != nil {
		t.Error(err)
	}
	if string(content(t, d)) != string(want) {
		t.Error("other content")
	}
}

// bash's <(command) is such a path; its writer is often gone before it is opened.
func TestAnInheritedPipeIsReadByItsPath(t *testing.T) {
	leavesNothing(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.WriteString("all of it"); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	d := load(t, &Loader{}, Spec{Name: "a", Source: fmt.Sprintf("/dev/fd/%d", r.Fd())})[0]
	if string(content(t, d)) != "all of it" {
		t.Error("other content")
	}
}

func TestAFIFOWithoutContentIsRefused(t *testing.T) {
	leavesNothing(t)
	path := fifo(t)
	writer := exec.Command("/bin/sh", "-c", ": > "+path)
	if err := writer.Start(); err != nil {
		t.Fatal(err)
	}
	if got := refused(t, &Loader{}, Spec{Name: "a", Source: path}); !strings.Contains(got, "nothing was written to this pipe") {
		t.Error(got)
	}
	if err := writer.Wait(); err != nil {
		t.Error(err)
	}
}

// Each of these reads would block for ever.
func TestCancellingEndsABlockedLoad(t *testing.T) {
	never := make(chan struct{})
	defer close(never)
	silent := func(w *os.File) {
		_, _ = w.WriteString("some bytes")
		<-never
	}
	lonely := fifo(t)
	for _, c := range []struct {
		name   string
		loader *Loader
		source string
	}{
		{"silent standard input", &Loader{Stdin: stdin(t, silent)}, "-"},
		{"FIFO without a writer", &Loader{}, lonely},
		{"silent command", &Loader{Start: startCommand}, "cmd:echo some bytes; sleep 1000"},
		{"command that closed its output", &Loader{Start: startCommand}, "cmd:echo some bytes; exec >&-; sleep 1000"},
		{"command without an end", &Loader{Start: startCommand}, "cmd:cat /dev/zero"},
	} {
		t.Run(c.name, func(t *testing.T) {
			leavesNothing(t)
			ctx, cancel := context.WithCancelCause(context.Background())
			why := errors.New("told to stop")
			ended := make(chan error)
			go func() {
				_, err := c.loader.Load(ctx, []Spec{{Name: "emb", Source: c.source}})
				ended <- err
			}()
			waitUntilBlocked(t, c.source)
			cancel(why)
			select {
			case err := <-ended:
				if !errors.Is(err, why) || !strings.Contains(err.Error(), `cannot load dataset "emb": `) {
					t.Error(err)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("it goes on")
			}
		})
	}
}

// waitUntilBlocked returns once a segment of the load exists, or its source is open: cancelling comes in the middle.
func waitUntilBlocked(t *testing.T, source string) {
	t.Helper()
	until(t, "the load begins", func() bool {
		return slices.ContainsFunc(openFiles(t), func(link string) bool {
			return strings.Contains(link, "memfd:emb") || strings.HasSuffix(link, "="+source)
		})
	})
}

func TestCancellingEndsTheReadingOfAFile(t *testing.T) {
	leavesNothing(t)
	ctx, cancel := context.WithCancel(context.Background())
	l := &Loader{OnProgress: func(_ string, p Progress) {
		if p.Loaded > 0 {
			cancel()
		}
	}}
	_, err := l.Load(ctx, []Spec{{Name: "a", Source: writeFile(t, "x", make([]byte, 128<<20))}})
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "interrupted after ") {
		t.Error(err)
	}
}

func TestACancelledContextLoadsNothing(t *testing.T) {
	leavesNothing(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := (&Loader{Start: startCommand}).Load(ctx, []Spec{{Name: "a", Source: writeFile(t, "x", noise(10))}, {Name: "b", Source: "cmd:echo x"}})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
