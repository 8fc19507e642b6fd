// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package process

// Captured output: of both streams, to their end, and no longer than anybody holds them.

import (
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// sink is a log that is closed at the end of its stream.
type sink struct {
	log
	opened chan struct{} // Write waits for it
	closed chan struct{}
}

func newSink() *sink {
	s := &sink{opened: make(chan struct{}), closed: make(chan struct{})}
	close(s.opened)
	return s
}

func (s *sink) Write(p []byte) (int, error) {
	<-s.opened
	return s.log.Write(p)
}

// Close panics the second time.
func (s *sink) Close() error {
	close(s.closed)
	return nil
}

func TestBothStreamsAreCapturedByteForByteAndClosed(t *testing.T) {
	noLeak(t, func(t *testing.T) {
		const script = `printf 'a\000b\377\n'; head -c 1048576 /dev/zero; printf unended; printf 'error\r\n\n' >&2`
		out, err := newSink(), newSink()
		spec := command("sh", "-c", script)
		spec.Out, spec.Log = out, err
		p := start(t, spec)
		wait(t, out.closed)
		wait(t, err.closed)
		if have, want := out.String(), "a\x00b\xff\n"+strings.Repeat("\x00", 1<<20)+"unended"; have != want {
			t.Errorf("%d bytes of standard output came, want %d", len(have), len(want))
		}
		if have := err.String(); have != "error\r\n\n" {
			t.Errorf("the standard error is %q", have)
		}
		if text := p.text(t); text != "" {
			t.Errorf("%q went to the descriptor", text)
		}
		if words := p.LastWords(0); words != "error\r" {
			t.Errorf("the last words are %q", words)
		}
	})
}

func TestALogAloneIsSharedAndNotClosed(t *testing.T) {
	shared := newSink()
	for range 2 {
		spec := command("sh", "-c", "echo goodbye >&2")
		spec.Log = shared
		wait(t, start(t, spec).Gone())
	}
	if text := shared.String(); text != "goodbye\ngoodbye\n" {
		t.Errorf("it says %q", text)
	}
	select {
	case <-shared.closed:
		t.Error("it was closed")
	default:
	}
}

func TestGoneMeansThatAllIsCopied(t *testing.T) {
	for range 5 {
		out := newSink()
		out.opened = make(chan struct{})
		spec := command("sh", "-c", "head -c 60000 /dev/zero; head -c 60000 /dev/zero >&2")
		spec.Out, spec.Log = out, io.Discard
		var p *Process
		var err error
		onThread(func() {
			p, err = Start(spec, func(e Event) {
				if e == (Exited{}) {
					close(out.opened) // from now on, not before, it is written
				}
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		wait(t, p.Gone())
		if n := len(out.String()); n != 60000 {
			t.Errorf("%d bytes have come", n)
		}
	}
}

func TestAWriterThatIsStuckDelaysNoEvent(t *testing.T) {
	out := newSink()
	out.opened = make(chan struct{})
	spec := command("sh", "-c", "echo hello")
	spec.Out, spec.Log = out, newSink()
	p := spawned(t, spec)
	if e := p.next(t); e != (Exited{}) {
		t.Errorf("the event is %#v", e)
	}
	wait(t, p.Gone())
	select {
	case <-p.said:
		t.Error("the writer was not stuck: the test shows nothing")
	default:
	}
	close(out.opened)
	wait(t, out.closed)
	if text := out.String(); text != "hello\n" {
		t.Errorf("it says %q", text)
	}
}

func TestWhatAGrandchildWritesAfterTheEndIsCopied(t *testing.T) {
	if _, err := exec.LookPath("setsid"); err != nil {
		t.Skip("setsid is missing")
	}
	fifo := temp(t) + "/fifo"
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := newSink(), newSink()
	script := fmt.Sprintf(`setsid sh -c 'echo $$; read line <%s; echo late; echo later >&2' & wait`, fifo)
	spec := command("sh", "-c", script)
	spec.Out, spec.Log = out, err
	p := spawned(t, spec)
	eventually(t, "the grandchild runs", func() bool { return strings.Contains(out.String(), "\n") })
	p.Signal(unix.SIGTERM)
	if e := p.next(t); e != (Exited{Signal: 15}) {
		t.Errorf("the event is %#v", e)
	}
	wait(t, p.Gone())
	select {
	case <-out.closed:
		t.Fatal("nobody held the pipe: the test shows nothing")
	default:
	}
	write(t, 0o600, fifo, "go\n")
	wait(t, out.closed)
	wait(t, err.closed)
	if _, late, _ := strings.Cut(out.String(), "\n"); late != "late\n" || err.String() != "later\n" {
		t.Errorf("late came %q and %q", late, err)
	}
}

func TestAStartThatFailsClosesBoth(t *testing.T) {
	out, log := newSink(), newSink()
	spec := command("true")
	spec.Out, spec.Log, spec.Sockets = out, log, []int{1 << 20}
	var err error
	onThread(func() { _, err = Start(spec, func(e Event) { t.Errorf("an event came: %#v", e) }) })
	if err == nil {
		t.Fatal("it did not fail: the test shows nothing")
	}
	wait(t, out.closed)
	wait(t, log.closed)
}
