// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: on a terminal a bar for each dataset shows amount, rate and time left while it is loaded, with whole lines of the log
// above; in /stats the same figures rise; and where standard error is no terminal, nothing but text is written.

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/supervisor"
)

// tap is a server whose one object flows as far as a test lets it.
type tap struct {
	*httptest.Server

	mu      sync.Mutex
	content []byte
	open    int64 // bytes that may flow
	burst   bool  // the connection breaks off at that place, once
	turned  *sync.Cond
}

func newTap(t *testing.T, content []byte) *tap {
	s := &tap{content: content}
	s.turned = sync.NewCond(&s.mu)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		http.ServeContent(w, r, "", time.Time{}, &flow{tap: s})
	}))
	t.Cleanup(func() {
		s.turn(int64(len(content)), false)
		s.Close()
	})
	return s
}

// turn lets it flow up to a byte, where it waits, or breaks off.
func (s *tap) turn(open int64, burst bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open, s.burst = open, burst
	s.turned.Broadcast()
}

// flow is what comes out, for one request.
type flow struct {
	tap *tap
	at  int64
}

func (f *flow) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += f.at
	case io.SeekEnd:
		offset += int64(len(f.tap.content))
	}
	f.at = offset
	return offset, nil
}

func (f *flow) Read(p []byte) (int, error) {
	s := f.tap
	s.mu.Lock()
	defer s.mu.Unlock()
	for f.at >= s.open && f.at < int64(len(s.content)) {
		if s.burst {
			s.burst = false
			panic(http.ErrAbortHandler)
		}
		s.turned.Wait()
	}
	n := copy(p, s.content[f.at:s.open])
	f.at += int64(n)
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

var (
	colours   = regexp.MustCompile(`\x1b\[[0-9;]*m`)
	takenBack = regexp.MustCompile(`^\x1b\[(\d+)A\x1b\[J`)
)

// screen is what can be seen of a terminal's output so far, the line that is not complete left out.
func screen(t *testing.T, output string) (lines []string) {
	t.Helper()
	for rest := colours.ReplaceAllString(output, ""); rest != ""; {
		if back := takenBack.FindStringSubmatch(rest); back != nil {
			n, err := strconv.Atoi(back[1])
			if err != nil || n > len(lines) {
				t.Fatalf("%s lines are taken back of %q", back[1], lines)
			}
			lines, rest = lines[:len(lines)-n], rest[len(back[0]):]
			continue
		}
		line, after, whole := strings.Cut(rest, "\n")
		if !whole {
			break
		}
		line = strings.TrimRight(line, " \r")
		if strings.ContainsAny(line, "\x1b\r") {
			t.Fatalf("a line is torn: %q\nof\n%s", line, output)
		}
		lines, rest = append(lines, line), after
	}
	return lines
}

// shows waits until one line of a terminal matches.
func (f *fleet) shows(pattern string) {
	f.t.Helper()
	want := regexp.MustCompile(pattern)
	within(f.t, patience, "a line on the terminal like "+pattern, func() bool {
		return want.MatchString(strings.Join(screen(f.t, f.output()), "\n"))
	})
}

const (
	ratePattern = `\d+(\.\d)? [KMGTP]?i?B/s`
	leftPattern = `(\d+[hms])+ left`
)

func TestLoadingIsShownOnATerminalAndInTheStats(t *testing.T) {
	const size = 24 * mib
	w := writeFormats(t, size)
	packed, err := os.ReadFile(w.path(w.pack(t, "emb.npy", "gz")))
	if err != nil {
		t.Fatal(err)
	}
	dir := place(t)
	known, zipped, slow := newTap(t, noise(t, size)), newTap(t, packed), newFIFO(t, dir, "slow")
	f := start(t, spec{
		dir: dir, through: []string{python(t, nil), script(t, "terminal.py")}, forks: true, env: []string{"TERM=xterm"},
		flags: []string{
			"-w", "2", "--ready", "alive:10ms", "-d", "known=" + known.URL + "/a", "-d", "zipped=" + zipped.URL + "/b.gz", "-d", "slow=cmd:cat slow",
			"-d", "disk=" + w.path("table.arrow"),
		},
		command: sleeper,
	})
	// Figures are told anew after 4 MiB, or after 50 ms with the next byte: so far they may be behind what has come.
	const behind = 4 * mib
	half := int64(len(packed) / 2)
	var before supervisor.Data
	rises := func(s *supervisor.Snapshot) bool {
		rows := map[string]supervisor.Data{}
		for _, d := range s.Data {
			rows[d.Name] = d
		}
		k, z, o := rows["known"], rows["zipped"], rows["slow"]
		if k.Loaded <= max(before.Loaded, known.open-behind) || z.Loaded == 0 || o.Loaded <= int64(len(slow.sent))-behind {
			return false
		}
		if s.Supervisor.State != supervisor.StateLoading || k.Version != 0 || k.LoadedAt != nil || value(k.SourceSize) != size || k.Read < k.Loaded ||
			k.Loaded > known.open {
			t.Errorf("state %s, known: %+v", s.Supervisor.State, k)
		}
		if value(z.SourceSize) != float64(len(packed)) || z.Read == 0 || z.Read > half || z.Loaded <= z.Read || z.Codec != "gzip" {
			t.Errorf("zipped: %+v of %d bytes", z, len(packed))
		}
		if o.SourceSize != nil || o.Size != nil || o.Read < o.Loaded || o.Loaded == 0 {
			t.Errorf("slow: %+v", o)
		}
		before = k
		return true
	}
	zipped.turn(half, false)
	known.turn(6*mib, false)
	slow.send(5 * mib)
	f.until("the first bytes in /stats", rises)
	f.shows(`(?m)^known +\[=*>?-+\] +[2-6](\.\d)? MiB/24 MiB +` + ratePattern + ` +` + leftPattern + `$`)
	f.shows(`(?m)^zipped +\[=+>?-+\] +\S+ KiB/\S+ KiB gzip → \d+(\.\d)? MiB +` + ratePattern + ` +` + leftPattern + `$`)
	f.shows(`(?m)^slow +[-\\|/] +[1-5]\.\d MiB +` + ratePattern + `$`)
	f.shows(`(?m)^disk +\[=+\] +2\d MiB +(` + ratePattern + `)? +done$`)
	known.turn(12*mib, true) // it breaks off there, of which the log tells, and goes on
	f.shows(`(?m)^.* WRN download broke off, it will be resumed .*source=` + regexp.QuoteMeta(known.URL) + `/a .*$`)
	known.turn(18*mib, false)
	slow.send(5 * mib)
	f.until("more bytes in /stats", rises)
	f.shows(`(?m)^known +\[=+>?-+\] +1[4-8](\.\d)? MiB/24 MiB +` + ratePattern + ` +` + leftPattern + `$`)
	zipped.turn(int64(len(packed)), false)
	known.turn(size, false)
	slow.file.Close()
	f.untilReady(2)
	f.stop()

	// In the end the bars stand where they were drawn last, and every other line is a whole one of the log.
	bars := map[string]bool{}
	for _, line := range screen(t, f.output()) {
		if bar := regexp.MustCompile(`^(known|zipped|slow|disk) +\[=+\] .*done$`).FindStringSubmatch(line); bar != nil {
			bars[bar[1]] = true
		} else if !regexp.MustCompile(`^\S+ (INF|WRN) \S.*$`).MatchString(line) {
			t.Errorf("the line %q is neither a bar nor of the log", line)
		}
	}
	if len(bars) != 4 {
		t.Errorf("bars at the end: %v\n%q", bars, screen(t, f.output()))
	}
}

// A source that stalls is when somebody looks.
func TestWhatHasComeIsShownThoughNoMoreComes(t *testing.T) {
	dir := place(t)
	slow := newFIFO(t, dir, "slow")
	f := start(t, spec{dir: dir, flags: []string{"-w", "1", "--ready", "alive:10ms", "-d", "slow=cmd:cat slow"}, command: sleeper})
	slow.send(mib)
	f.until("all of what has come", func(s *supervisor.Snapshot) bool {
		return len(s.Data) == 1 && s.Data[0].Loaded == mib && s.Data[0].Read == mib
	})
	slow.file.Close()
	f.untilReady(1)
	f.stop()
}

func TestNothingButTextGoesToAPipe(t *testing.T) {
	dir := place(t)
	known, slow := newTap(t, noise(t, 8*mib)), newFIFO(t, dir, "slow")
	path := filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	pipe, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	var (
		mu   sync.Mutex
		text bytes.Buffer
	)
	go func() {
		block := make([]byte, 64<<10)
		for {
			n, err := pipe.Read(block)
			if err != nil {
				return
			}
			mu.Lock()
			text.Write(block[:n])
			mu.Unlock()
		}
	}()
	f := start(t, spec{
		dir: dir, through: []string{"/bin/sh", "-c", `exec "$0" "$@" >pipe 2>&1`}, env: []string{"TERM=xterm"},
		flags:   []string{"-w", "1", "--ready", "alive:10ms", "--log-format", "text", "-d", "known=" + known.URL, "-d", "slow=cmd:cat slow"},
		command: sleeper,
	})
	// Longer than bars wait before they are drawn.
	known.turn(4*mib, false)
	slow.send(5 * mib)
	f.until("a load of a second", func(s *supervisor.Snapshot) bool {
		return s.Supervisor.Uptime > 1 && len(s.Data) == 2 && s.Data[0].Loaded > 0 && s.Data[1].Loaded > 0
	})
	known.turn(8*mib, false)
	slow.file.Close()
	f.untilReady(1)
	f.stop()
	within(t, patience, "the last line", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return strings.Contains(text.String(), "worker ended")
	})
	mu.Lock()
	defer mu.Unlock()
	if found := regexp.MustCompile(`[\x00-\x09\x0b-\x1f\x7f]`).FindStringIndex(text.String()); found != nil {
		t.Errorf("a control character at byte %d of\n%q", found[0], text.String())
	}
	for line := range strings.Lines(text.String()) {
		if !regexp.MustCompile(`^\S+ (INF|WRN) \S.*\n$`).MatchString(line) {
			t.Errorf("the line %q is none of the log", line)
		}
	}
}
