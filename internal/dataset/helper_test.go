// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

// What the tests share: npy files made by hand, producers that are real processes, and the proof that nothing is left.

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// Go's netpoller opens its own descriptors with the first pipe: before the tests that count them.
	r, w, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	r.Close()
	w.Close()
	goleak.VerifyTestMain(m)
}

// npy is a version 1.0 file with this header text and so many bytes of data.
func npy(header string, data int) []byte { return npyVersion(1, header, data) }

func npyVersion(major byte, header string, data int) []byte {
	out := append([]byte("\x93NUMPY"), major, 0)
	header += strings.Repeat(" ", 63) + "\n"
	if major == 1 {
		out = binary.LittleEndian.AppendUint16(out, uint16(len(header)))
	} else {
		out = binary.LittleEndian.AppendUint32(out, uint32(len(header)))
	}
	out = append(out, header...)
	for i := range data {
		out = append(out, byte(i*7))
	}
	return out
}

// header is the dict as numpy writes it.
func header(descr, shape string) string {
	return fmt.Sprintf("{'descr': %s, 'fortran_order': False, 'shape': %s, }", descr, shape)
}

func writeFile(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// noise is n bytes that are not the same on any two pages.
func noise(n int) []byte {
	out := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)}).Read(out)
	return out
}

// execProducer is a Producer by os/exec; the real one is internal/process's.
type execProducer struct {
	io.ReadCloser
	cmd    *exec.Cmd
	stderr bytes.Buffer
	waited chan struct{}
	once   sync.Once
}

func startCommand(_ context.Context, command string) (Producer, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	p := &execProducer{ReadCloser: r, cmd: exec.Command("/bin/sh", "-c", command), waited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = w, &p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.WaitDelay = time.Second
	if err := p.cmd.Start(); err != nil {
		_ = r.Close()
		return nil, err
	}
	return p, nil
}

func (p *execProducer) Close() error {
	p.once.Do(func() {
		select {
		case <-p.waited:
		default:
			_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		}
		_ = p.ReadCloser.Close()
	})
	return nil
}

func (p *execProducer) Wait() error {
	err := p.cmd.Wait()
	close(p.waited)
	if err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(p.stderr.String()))
	}
	return nil
}

// leavesNothing checks, when the test ends, that it left no descriptor (a segment is one) and no child.
func leavesNothing(t *testing.T) {
	t.Helper()
	before := openFiles(t)
	t.Cleanup(func() {
		var after []string
		until(t, "as few descriptors are open as before", func() bool { // connections are closed behind our back
			after = openFiles(t)
			return len(after) <= len(before)
		})
		if t.Failed() {
			t.Logf("descriptors before: %q\nand after: %q", before, after)
		}
		if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err == nil {
			t.Errorf("a child is left (wait4 says %d)", pid)
		}
	})
}

// until polls for a fact.
func until(t *testing.T, what string, fact func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); !fact(); <-tick.C {
		if time.Now().After(end) {
			t.Errorf("waited in vain until %s", what)
			return
		}
	}
}

func openFiles(t *testing.T) (out []string) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if link, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			out = append(out, e.Name()+"="+link)
		}
	}
	return out
}

// content reads a segment as a worker would.
func content(t *testing.T, d *Loaded) []byte {
	t.Helper()
	f, err := d.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// load loads and closes the segments when the test ends.
func load(t *testing.T, l *Loader, specs ...Spec) []*Loaded {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	all, err := l.Load(ctx, specs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, d := range all {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return all
}

// refused loads and returns the error's text, which must name the first dataset.
func refused(t *testing.T, l *Loader, specs ...Spec) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	all, err := l.Load(ctx, specs)
	if err == nil {
		for _, d := range all {
			_ = d.Close()
		}
		t.Fatal("it was loaded")
	}
	if typed := new(Error); !errors.As(err, &typed) || len(typed.Names) == 0 {
		t.Errorf("%T names no dataset", err)
	}
	if ctx.Err() != nil {
		t.Error("it ended only with the time of the test")
	}
	return err.Error()
}
