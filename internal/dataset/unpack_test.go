// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

// What unpacking takes beside the content is within the headroom too.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"unsafe"

	"github.com/preforkd/preforkd/internal/codec"
	"github.com/preforkd/preforkd/internal/host"
)

// packedZeros are so many MiB of zeros, packed by a command that reads a file ($in) or its standard input.
func packedZeros(t *testing.T, command string, mib int) string {
	t.Helper()
	if _, err := exec.LookPath(strings.Fields(command)[0]); err != nil {
		t.Skip(err)
	}
	in, path := writeFile(t, "in", make([]byte, mib<<20)), filepath.Join(t.TempDir(), "packed")
	cmd := exec.Command("/bin/sh", "-c", command+" > "+path)
	if strings.Contains(command, "$in") {
		cmd.Env = append(cmd.Environ(), "in="+in)
	} else {
		cmd.Args[2] += " < " + in
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// used is a machine of which this process's segments and what it has taken since are gone.
func used(t *testing.T, size int64) (free func() (host.Headroom, error), most *atomic.Int64) {
	debug.FreeOSMemory()
	base := anonymous(t)
	most = new(atomic.Int64)
	return func() (host.Headroom, error) {
		held := memfds(t) + max(anonymous(t)-base, 0)
		for old := most.Load(); held > old && !most.CompareAndSwap(old, held); {
			old = most.Load()
		}
		return host.Headroom{Free: max(size-held, 0), By: "a test"}, nil
	}, most
}

// anonymous is the memory of Go's heap: what is near to something in it. What the race detector notes about it lies elsewhere.
func anonymous(t *testing.T) (sum int64) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	heap, near := false, uint64(uintptr(unsafe.Pointer(unsafe.StringData(string(text)))))
	for line := range strings.Lines(string(text)) {
		var start, end uint64
		var kib int64
		if n, _ := fmt.Sscanf(line, "%x-%x ", &start, &end); n == 2 {
			heap = start>>38 == near>>38
		}
		if n, _ := fmt.Sscanf(line, "Anonymous: %d kB", &kib); n == 1 && heap {
			sum += kib << 10
		}
	}
	return sum
}

func TestAWindowIsWithinTheHeadroom(t *testing.T) {
	leavesNothing(t)
	const size = 120 << 20
	known, unknown := packedZeros(t, "zstd -q1 --long=26 -c $in", 64), packedZeros(t, "zstd -q1 --long=26 -c", 64)
	for source, want := range map[string]string{
		known:              "needs 122 MiB (58 MiB of it only while it is unpacked, by the way it is packed), but only 11",
		unknown:            "needs more than ",
		"cmd:cat " + known: "needs more than ",
	} {
		free, most := used(t, size)
		got := refused(t, &Loader{Start: startCommand, Free: free}, Spec{Name: "a", Source: source})
		if !strings.HasPrefix(got, `cannot load dataset "a": `+want) || most.Load() > size {
			t.Errorf("%s, %d bytes were held: %s", source, most.Load(), got)
		}
	}
	free, _ := used(t, 160<<20)
	load(t, &Loader{Free: free}, Spec{Name: "a", Source: known}, Spec{Name: "b", Source: writeFile(t, "x", noise(1<<20))})
	if held := anonymous(t); held > 50<<20 {
		t.Errorf("%d bytes are still held by a decoder that is gone", held)
	}
}

func TestAWindowIsRefusedBeforeItIsMade(t *testing.T) {
	leavesNothing(t)
	path := packedZeros(t, "zstd -q1 --long=30 -c", 1) // by a pipe it knows no better
	free, most := machine(t, 640<<20)
	for _, source := range []string{path, "cmd:cat " + path} {
		got := refused(t, &Loader{Start: startCommand, Free: free}, Spec{Name: "a", Source: source})
		want := `cannot load dataset "a": needs 1021 MiB (1018 MiB of it only while it is unpacked, by the way it is packed), but only 608 MiB`
		if !strings.HasPrefix(got, want) || most.Load() > 0 {
			t.Errorf("%s, %d bytes were held: %s", source, most.Load(), got)
		}
	}
	path = packedZeros(t, "xz -9 -c", 1)
	free, _ = machine(t, 64<<20)
	if got := refused(t, &Loader{Start: startCommand, Free: free}, Spec{Name: "a", Source: "cmd:cat " + path}); !strings.Contains(got, "(122 MiB of it only") {
		t.Error(got)
	}
	load(t, &Loader{Free: free}, Spec{Name: "a", Source: path}) // no more than the content, which the file states
}

func TestWhatUnpackingTookIsGivenBack(t *testing.T) {
	free := func() (host.Headroom, error) { return host.Headroom{Free: 1 << 30, By: "a test"}, nil }
	b := newBudget(free)
	before, _, _ := b.left()
	a := &account{budget: b}
	for range 3 {
		if err := a.unpack(300<<20, 0); err != nil {
			t.Fatal(err)
		}
		if left, _, _ := b.left(); left != before-284<<20 {
			t.Errorf("%d are left of %d", left, before)
		}
		if err := errors.Join(a.grow(100<<20), a.grow(200<<20)); err != nil {
			t.Fatal(err)
		}
		if a.filled != 100<<20 {
			t.Errorf("after 100 MiB %d of it are counted as used", a.filled)
		}
		a.unpacked()
		a.freed(a.next())
	}
	a.close()
	if after, _, _ := b.left(); after != before || b.promised != 0 || b.written != 0 {
		t.Errorf("%d are left of %d, %d promised, %d written", after, before, b.promised, b.written)
	}
}

// One that waits for its source shall not hold what another one needs.
func TestAStreamTakesNoMoreThanItNeedsWhereMemoryIsShort(t *testing.T) {
	b := newBudget(func() (host.Headroom, error) { return host.Headroom{Free: 100 << 20, By: "a test"}, nil })
	waiting, busy := &account{budget: b}, &account{budget: b}
	if err := waiting.grow(4096); err != nil {
		t.Fatal(err)
	}
	if err := busy.grow(90 << 20); err != nil {
		t.Error(err)
	}
}

// few is a file that gives up its context after so many reads, and counts them.
type few struct {
	io.ReaderAt
	left, reads int
	cancel      context.CancelCauseFunc
}

var errEnough = errors.New("enough")

func (f *few) ReadAt(p []byte, off int64) (int, error) {
	if f.reads++; f.reads == f.left {
		f.cancel(errEnough)
	}
	return f.ReaderAt.ReadAt(p, off)
}

func TestALookAtAFileEndsWithItsContext(t *testing.T) {
	packedFile, err := exec.Command("/bin/sh", "-c", "head -c 1M /dev/urandom | zstd -q").Output()
	if err != nil {
		t.Skip(err)
	}
	for name, whole := range map[string][]byte{
		"npz": npz(t, map[string][]byte{"w": npy(header("'<f4'", "(3000,)"), 12000)}), "packed": packedFile,
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		file := &few{ReaderAt: bytes.NewReader(whole), left: 2, cancel: cancel}
		_, err := Options{}.survey(ctx, file, int64(len(whole)), func(facts) error { return nil })
		if !errors.Is(err, errEnough) || file.reads > 2 {
			t.Errorf("%s: %v after %d reads", name, err, file.reads)
		}
	}
}

// The header of each block is a read of its own, and a large file has a million.
func TestALookAtAPackedFileReadsLittleOfIt(t *testing.T) {
	path := packedZeros(t, "zstd -q1 -c $in", 100) // 800 blocks
	f := reopened(t, path, 0)
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	file := &few{ReaderAt: f}
	found, err := Options{}.survey(t.Context(), file, info.Size(), func(facts) error { return nil })
	if err != nil || found.size != 100<<20 || found.sure || found.kind != codec.Zstd || file.reads > maxHeaders+20 {
		t.Errorf("%d reads: %+v, %v", file.reads, found, err)
	}
}

func TestWhatComesInPiecesIsRecognisedToo(t *testing.T) {
	for name, whole := range map[string][]byte{
		"npy": npy(header("'<f4'", "(3000,)"), 12000), "raw": noise(3000), "safetensors": safetensors(5000), "nothing": nil,
	} {
		_, want, err := Options{}.peek(bytes.NewReader(whole))
		if err != nil {
			t.Fatal(err)
		}
		head, got, err := Options{}.peek(iotest.OneByteReader(bytes.NewReader(whole)))
		if err != nil || got.Format != want.Format || got.Need != want.Need || !bytes.HasPrefix(whole, head) {
			t.Errorf("%s: %+v, want %+v, %v", name, got, want, err)
		}
	}
}
