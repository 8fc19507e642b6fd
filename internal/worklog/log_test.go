// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package worklog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// feed writes text to a stream in pieces of at most step bytes, and closes it.
func feed(t *testing.T, to io.WriteCloser, text string, step int) {
	t.Helper()
	for text != "" {
		n := min(step, len(text))
		if m, err := io.WriteString(to, text[:n]); m != n || err != nil {
			t.Fatal(m, err)
		}
		text = text[n:]
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestLinesLookAsDocumented(t *testing.T) {
	const text = "plain <&>\n\r\n\na\x00b\ttab\n \xff\xfe\nunended"
	for format, want := range map[Format]string{
		Prefix: "worker 3.2 err | plain <&>\n" +
			"worker 3.2 err | \r\n" +
			"worker 3.2 err | \n" +
			"worker 3.2 err | a\x00b\ttab\n" +
			"worker 3.2 err |  \xff\xfe\n" +
			"worker 3.2 err + unended\n",
		JSON: `{"time":"2026-01-02T12:00:00Z","worker":3,"incarnation":2,"stream":"stderr","line":"plain <&>"}
{"time":"2026-01-02T12:00:00Z","worker":3,"incarnation":2,"stream":"stderr","line":"\r"}
{"time":"2026-01-02T12:00:00Z","worker":3,"incarnation":2,"stream":"stderr","line":""}
{"time":"2026-01-02T12:00:00Z","worker":3,"incarnation":2,"stream":"stderr","line":"a\u0000b\ttab"}
{"time":"2026-01-02T12:00:00Z","worker":3,"incarnation":2,"stream":"stderr","line_base64":"IP/+"}
{"time":"2026-01-02T12:00:00Z","worker":3,"incarnation":2,"stream":"stderr","line":"unended","partial":true}
`,
	} {
		for _, step := range []int{1, 3, 1000} {
			to := &sheet{t: t}
			stdout, stderr := New(to, format, noon).Capture(3, 2)
			feed(t, stdout, "", 1)
			feed(t, stderr, text, step)
			if diff := cmp.Diff(want, string(to.text)); diff != "" {
				t.Errorf("%s, %d bytes at a time: -want +got\n%s", format, step, diff)
			}
		}
	}
}

func TestEveryByteOfEveryStreamComesOut(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		format := rapid.SampledFrom(formats).Draw(rt, "format")
		to := &sheet{t: t}
		log := New(to, format, noon)
		open, want := map[key]io.WriteCloser{}, map[key]string{}
		for worker := range 2 {
			stdout, stderr := log.Capture(worker, 7)
			open[key{worker, 7, "stdout"}], open[key{worker, 7, "stderr"}] = stdout, stderr
		}
		for range rapid.IntRange(0, 20).Draw(rt, "writes") {
			k := key{rapid.IntRange(0, 1).Draw(rt, "worker"), 7, rapid.SampledFrom([]string{"stdout", "stderr"}).Draw(rt, "stream")}
			text := rapid.SliceOf(rapid.SampledFrom([]byte("\n\n\nabc\r\x00\xff\xc3\xa4"))).Draw(rt, "text")
			if n, err := open[k].Write(text); n != len(text) || err != nil {
				rt.Fatal(n, err)
			}
			want[k] += string(text)
		}
		for _, stream := range open {
			if err := stream.Close(); err != nil {
				rt.Fatal(err)
			}
		}
		for k, text := range want {
			if text == "" {
				delete(want, k)
			}
		}
		if diff := cmp.Diff(want, streams(parse(t, format, to.text))); diff != "" {
			rt.Fatalf("-want +got\n%s", diff)
		}
	})
}

func TestLinesOfAMebibyteAreWholeAndLongerOnesComeInMarkedPieces(t *testing.T) {
	const m = 1 << 20
	cases := []struct {
		name, text string
		lengths    []int
	}{
		{"a byte less", strings.Repeat("x", m-1) + "\n", []int{m - 1}},
		{"just 1 MiB", strings.Repeat("x", m) + "\n", []int{m}},
		{"a byte more", strings.Repeat("x", m+1) + "\n", []int{m, 1}},
		{"twice", strings.Repeat("x", 2*m) + "\nshort\n", []int{m, m, 5}},
		{"without an end", strings.Repeat("x", m+1), []int{m, 1}},
		{"characters", strings.Repeat("x", m-1) + "€uro\n", []int{m - 1, 6}},
		{"NUL bytes", strings.Repeat("\x00", m) + "\n", []int{m}},
		{"no text at all", strings.Repeat("\xbf", m+9) + "\n", []int{m, 9}},
	}
	for _, format := range formats {
		for _, c := range cases {
			for _, step := range []int{16 << 10, 3 * m} {
				to := &sheet{t: t}
				stdout, stderr := New(to, format, noon).Capture(0, 1)
				feed(t, stdout, c.text, step)
				feed(t, stderr, "", 1)
				lines := parse(t, format, to.text)
				var lengths []int
				for _, l := range lines {
					lengths = append(lengths, len(l.text))
				}
				if diff := cmp.Diff(c.lengths, lengths); diff != "" {
					t.Errorf("%s, %s: lengths -want +got\n%s", format, c.name, diff)
				}
				if streams(lines)[key{0, 1, "stdout"}] != c.text {
					t.Errorf("%s, %s: it is not what was written", format, c.name)
				}
				if format == JSON && c.name == "characters" && bytes.Contains(to.text, []byte("base64")) {
					t.Error("a character was cut in two")
				}
			}
		}
	}
}

func TestAStreamWithoutNewlinesHoldsAMebibyte(t *testing.T) {
	stdout, _ := New(io.Discard, Prefix, noon).Capture(0, 1)
	piece := bytes.Repeat([]byte("x"), 16<<10)
	for range 16 << 20 / len(piece) {
		if _, err := stdout.Write(piece); err != nil {
			t.Fatal(err)
		}
	}
	s := stdout.(*stream)
	if len(s.partial) > maxLine || cap(s.partial) > 2*maxLine {
		t.Errorf("it holds %d bytes of %d", cap(s.partial), len(s.partial))
	}
	if _, err := stdout.Write([]byte("\n")); err != nil || s.partial != nil || s.log.pending.Cap() > keep {
		t.Errorf("when the line is over it holds %d and %d bytes: %v", cap(s.partial), s.log.pending.Cap(), err)
	}
}

func TestManyShortLinesAreWrittenTogetherWithinABound(t *testing.T) {
	for _, format := range formats {
		to := &sheet{t: t}
		_, stderr := New(to, format, noon).Capture(0, 1)
		feed(t, stderr, strings.Repeat("\n", 16<<10), 16<<10)
		if n := len(parse(t, format, to.text)); n != 16<<10 {
			t.Errorf("%s: %d lines", format, n)
		}
		if to.longest < batch/2 || to.longest > 2*batch {
			t.Errorf("%s: the longest call has %d bytes, want about %d", format, to.longest, batch)
		}
	}
}

func TestWorkersThatWriteAtOnceDoNotMixTheirLines(t *testing.T) {
	for _, format := range formats {
		to := &sheet{t: t}
		log := New(to, format, noon)
		want := map[key]string{}
		var writers sync.WaitGroup
		for worker := range 4 {
			stdout, stderr := log.Capture(worker, 1)
			for i, stream := range []io.WriteCloser{stdout, stderr} {
				text := strings.Repeat(fmt.Sprintf("%d of worker %d, ä\n", i, worker), 500)
				want[key{worker, 1, []string{"stdout", "stderr"}[i]}] = text
				writers.Go(func() { feed(t, stream, text, 10+worker) })
			}
		}
		writers.Wait()
		if diff := cmp.Diff(want, streams(parse(t, format, to.text))); diff != "" {
			t.Errorf("%s: -want +got\n%s", format, diff)
		}
	}
}

// brokenFor fails for the first calls, as a full disk does.
type brokenFor struct {
	calls int
	sheet
}

func (b *brokenFor) Write(p []byte) (int, error) {
	if b.calls--; b.calls >= 0 {
		return 0, unix.ENOSPC
	}
	return b.sheet.Write(p)
}

func TestAWriterThatFailsIsToldAndTriedAgain(t *testing.T) {
	to := &brokenFor{calls: 1, sheet: sheet{t: t}}
	stdout, _ := New(to, Prefix, noon).Capture(0, 1)
	if n, err := io.WriteString(stdout, "lost\nhalf a "); n != len("lost\nhalf a ") || !errors.Is(err, unix.ENOSPC) {
		t.Error(n, err)
	}
	if _, err := io.WriteString(stdout, "line\n"); err != nil {
		t.Error(err)
	}
	if text := string(to.text); text != "worker 0.1 out | half a line\n" {
		t.Errorf("%q", text)
	}
}

func TestAWriterThatIsStuckHoldsUpItsWorkersButNotCapture(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	log := New(w, Prefix, noon)
	stdout, stderr := log.Capture(0, 1)
	written := make(chan struct{})
	go func() {
		defer close(written)
		feed(t, stdout, strings.Repeat("x", 1<<20)+"\n", 16<<10) // a pipe takes 64 KiB
	}()
	next := make([]byte, 1)
	if _, err := r.Read(next); err != nil { // so it is being written
		t.Fatal(err)
	}
	other, another := log.Capture(1, 1)
	if log.Drain(time.Millisecond) {
		t.Error("it says that all came out")
	}
	select {
	case <-written:
		t.Error("the writer was not stuck: the test shows nothing")
	default:
	}
	go io.Copy(io.Discard, r)
	<-written
	for _, stream := range []io.Closer{stderr, other, another} {
		if err := stream.Close(); err != nil {
			t.Error(err)
		}
	}
	if !log.Drain(30 * time.Second) {
		t.Error("it says that something is left")
	}
	r.Close()
	w.Close()
}

func TestAClosedStreamTakesNothing(t *testing.T) {
	to := &sheet{t: t}
	stdout, _ := New(to, JSON, noon).Capture(0, 1)
	feed(t, stdout, "", 1)
	if err := stdout.Close(); err != nil {
		t.Error(err)
	}
	if n, err := io.WriteString(stdout, "late\n"); n != 0 || !errors.Is(err, os.ErrClosed) {
		t.Error(n, err)
	}
	if len(to.text) > 0 {
		t.Errorf("%q", to.text)
	}
}
