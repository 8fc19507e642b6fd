// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package process

// A worker's standard error: copied as it is, its end kept.

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestStandardErrorIsCopiedByteForByte(t *testing.T) {
	const script = `printf 'a\000b\377\n' >&2; head -c 1048576 /dev/zero | tr '\0' x >&2; printf '\nthe last words' >&2`
	p := start(t, command("sh", "-c", script))
	wait(t, p.Gone())
	wait(t, p.copied)
	if have, want := p.log.String(), "a\x00b\xff\n"+strings.Repeat("x", 1<<20)+"\nthe last words"; have != want {
		t.Errorf("%d bytes came, want %d", len(have), len(want))
	}
	if words := p.LastWords(0); words != "the last words" {
		t.Errorf("the last words are %q", words)
	}
}

func TestWithoutALogTheWorkerHasTheBareDescriptor(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	spec := command("sh", "-c", "echo goodbye >&2")
	spec.Stdout, spec.Stderr = int(w.Fd()), int(w.Fd())
	var p *Process
	onThread(func() { p, err = Start(spec, func(Event) {}) })
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	wait(t, p.Gone())
	if text, err := io.ReadAll(r); string(text) != "goodbye\n" || err != nil {
		t.Errorf("it says %q: %v", text, err)
	}
	if words := p.LastWords(time.Hour); words != "" {
		t.Errorf("the last words are %q", words)
	}
}

func TestAGrandchildThatKeepsThePipeDelaysNothing(t *testing.T) {
	if _, err := exec.LookPath("setsid"); err != nil {
		t.Skip("setsid is missing")
	}
	p := spawned(t, command("sh", "-c", `echo goodbye >&2; setsid sh -c 'echo $$; exec sleep 600' & wait`))
	var pid int
	if _, err := fmt.Sscan(p.line(t), &pid); err != nil {
		t.Fatal(err)
	}
	p.Signal(unix.SIGTERM)
	if e := p.next(t); e != (Exited{Signal: 15}) {
		t.Errorf("the event is %#v", e)
	}
	eventually(t, "the words are there", func() bool { return p.LastWords(time.Millisecond) == "goodbye" })
	select {
	case <-p.copied:
		t.Error("nobody held the pipe: the test shows nothing")
	default:
	}
	_ = unix.Kill(pid, unix.SIGKILL)
	wait(t, p.copied)
}

// brokenLog is a log whose disk is full.
type brokenLog struct{}

func (brokenLog) Write([]byte) (int, error) { return 0, unix.ENOSPC }

func TestALogThatFailsDoesNotStopTheWorker(t *testing.T) {
	spec := command("sh", "-c", "head -c 1000000 /dev/zero >&2; echo done; echo goodbye >&2")
	spec.Log = brokenLog{}
	p := start(t, spec)
	if text := p.text(t); text != "done\n" {
		t.Errorf("it says %q", text)
	}
	wait(t, p.copied)
	if words := p.LastWords(0); !strings.HasSuffix(words, "goodbye") {
		t.Errorf("the last words are %q", words)
	}
}

func TestTheLastEightKiBAreKept(t *testing.T) {
	const kib = 1 << 10
	line := "0123456789abcde\n" // 16 bytes
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", ""},
		{"one line", "x\n", "x"},
		{"no end of line", "x\ny", "x\ny"},
		{"empty lines at the end", "x\n\n\n", "x"},
		{"just 8 KiB", strings.Repeat(line, 512), strings.TrimRight(strings.Repeat(line, 512), "\n")},
		{"a byte more", "y" + strings.Repeat(line, 512), strings.TrimRight(strings.Repeat(line, 511), "\n")},
		{"lines", strings.Repeat(line, 2000), strings.TrimRight(strings.Repeat(line, 511), "\n")},
		{"one long line", strings.Repeat("x", 20*kib), strings.Repeat("x", 8*kib)},
		{"one long line with its end", strings.Repeat("x", 20*kib) + "\n", strings.Repeat("x", 8*kib-1)},
		{"bytes that are no text", "a\x00\xff", "a\x00�"},
	} {
		for _, step := range []int{1, 7, 5000, 1 << 20} {
			var words tail
			for text := c.text; text != ""; {
				n := min(step, len(text))
				if m, err := words.Write([]byte(text[:n])); m != n || err != nil {
					t.Fatal(m, err)
				}
				text = text[n:]
			}
			if have := words.String(); have != c.want {
				t.Errorf("%s, %d bytes at a time: %d bytes are kept, want %d: %.40q", c.name, step, len(have), len(c.want), have)
			}
			if cap(words.bytes) > 64*kib {
				t.Errorf("%s, %d bytes at a time: it holds %d bytes", c.name, step, cap(words.bytes))
			}
		}
	}
}
