// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package process

// Commands whose standard output becomes a dataset.

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// produce starts a producer that has a log. When the test ends, so does it.
func produce(t *testing.T, script string) (*Producer, *log) {
	t.Helper()
	var p *Producer
	var err error
	l := &log{}
	onThread(func() {
		p, err = StartProducer(script, "", []string{searchPath, "WORD=caf\xe9"}, l, func() {})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Close()
		wait(t, p.Gone())
	})
	return p, l
}

func TestAProducersOutputIsReadWhole(t *testing.T) {
	noLeak(t, func(t *testing.T) {
		const size = 10 << 20
		p, _ := produce(t, fmt.Sprintf("yes 0123456 | head -c %d | cat", size))
		text, err := io.ReadAll(p)
		if want := strings.Repeat("0123456\n", size/8); string(text) != want || err != nil {
			t.Errorf("%d bytes came, want %d: %v", len(text), len(want), err)
		}
		if err := p.Wait(); err != nil {
			t.Error(err)
		}
	})
}

func TestAProducerHasAnEmptyInputAndItsEnvironment(t *testing.T) {
	p, l := produce(t, `cat; echo "$WORD"; echo note >&2`)
	text, err := io.ReadAll(p)
	if string(text) != "caf\xe9\n" || err != nil {
		t.Errorf("it wrote %q: %v", text, err)
	}
	if err := p.Wait(); err != nil {
		t.Error(err)
	}
	wait(t, p.copied)
	if l.String() != "note\n" {
		t.Errorf("the log is %q", l)
	}
}

func TestAProducersFailureShowsItsStatusAndLastLines(t *testing.T) {
	for script, want := range map[string]string{
		"exit 3":                        "exit status 3",
		"echo no luck >&2; exit 4":      "exit status 4:\n  no luck",
		"no-such-program":               "exit status 127:\n  /bin/sh: 1: no-such-program: not found",
		"seq 100 >&2; exit 1":           "exit status 1:\n  91\n  92\n  93\n  94\n  95\n  96\n  97\n  98\n  99\n  100",
		"echo dying >&2; kill -9 $$":    "signal 9 (killed):\n  dying",
		"head -c 100 /dev/zero; exit 1": "exit status 1",
	} {
		p, _ := produce(t, script)
		if _, err := io.Copy(io.Discard, p); err != nil {
			t.Errorf("%s: %v", script, err)
		}
		err := p.Wait()
		if script == "no-such-program" { // shells differ in their words
			if err == nil || !strings.HasPrefix(err.Error(), "exit status 127:\n  ") || !strings.Contains(err.Error(), "not found") {
				t.Errorf("%s: %v", script, err)
			}
		} else if err == nil || err.Error() != want {
			t.Errorf("%s: %q, want %q", script, err, want)
		}
	}
}

func TestAProducerThatCannotBeStartedIsAnError(t *testing.T) {
	noLeak(t, func(t *testing.T) {
		var p *Producer
		var err error
		ended := make(chan struct{})
		onThread(func() { p, err = StartProducer("true", "/no/such/directory", nil, &log{}, func() { close(ended) }) })
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(p); len(text) > 0 || err != nil {
			t.Errorf("it wrote %q: %v", text, err)
		}
		if err := p.Wait(); err == nil || err.Error() != "chdir /no/such/directory: no such file or directory" {
			t.Errorf("the error is %v", err)
		}
		wait(t, ended)
		p.Close()
		wait(t, p.Gone())
	})
}

func TestCloseKillsAProducerWithItsChildren(t *testing.T) {
	noLeak(t, func(t *testing.T) {
		p, _ := produce(t, "echo x; sleep 600 | sleep 600 | cat & sleep 600")
		if _, err := io.ReadFull(p, make([]byte, 2)); err != nil {
			t.Fatal(err)
		}
		read := make(chan error)
		go func() {
			_, err := p.Read(make([]byte, 1))
			read <- err
		}()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if err := <-read; !errors.Is(err, os.ErrClosed) && !errors.Is(err, io.EOF) {
			t.Errorf("the Read that was under way gave %v", err)
		}
		if err := p.Wait(); err == nil || err.Error() != "signal 9 (killed)" {
			t.Errorf("Wait gave %v", err)
		}
		wait(t, p.Gone()) // the whole group
		if err := p.Close(); err != nil {
			t.Errorf("the second Close gave %v", err)
		}
	})
}

// A shell may end before what it started: `bash -c 'tee >(gzip >&3)'` does. Half of the data would be accepted as all.
func TestWhatAShellLeavesInTheBackgroundMayWriteOn(t *testing.T) {
	fifo := temp(t) + "/fifo"
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	p, _ := produce(t, fmt.Sprintf("echo first; { read -r word < %s; echo $word; } &", fifo))
	if err := p.Wait(); err != nil { // the shell has ended and is reaped
		t.Fatal(err)
	}
	write(t, 0o600, fifo, "second\n")
	if text, err := io.ReadAll(p); string(text) != "first\nsecond\n" || err != nil {
		t.Errorf("it wrote %q: %v", text, err)
	}
}

func TestCloseKillsWhatAShellLeftInTheBackground(t *testing.T) {
	noLeak(t, func(t *testing.T) {
		p, _ := produce(t, "sleep 600 &")
		if err := p.Wait(); err != nil {
			t.Error(err)
		}
		select {
		case <-p.Gone():
			t.Error("nobody was left: the test shows nothing")
		default:
		}
		p.Close()
		wait(t, p.Gone())
	})
}
