// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package remote

// Bodies that break off, fall silent, or come from another version.

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestABrokenBodyIsResumedWhereItEnded(t *testing.T) {
	v := tagged(1 << 20)
	site := serve(t, v.cut(100_000), v.cut(1), v.cut(500_000), v.ServeHTTP)
	var log logged
	whole(t, site.URL, Options{Log: log.logger()}, v.content)
	for i, want := range []string{"", "bytes=100000-", "bytes=100001-", "bytes=600001-"} {
		r := site.seen()[i]
		match := `"v1"`
		if i == 0 {
			match = ""
		}
		if r.Header.Get("Range") != want || r.Header.Get("If-Match") != match {
			t.Errorf("request %d: range %q, if-match %q", i, r.Header.Get("Range"), r.Header.Get("If-Match"))
		}
	}
	if n := strings.Count(log.String(), "broke off"); n != 3 {
		t.Errorf("the log tells of %d breaks: %s", n, log.String())
	}
}

func TestABrokenBodyIsResumedByItsDate(t *testing.T) {
	v := dated(1 << 20)
	site := serve(t, v.cut(100_000), v.ServeHTTP)
	whole(t, site.URL, Options{}, v.content)
	if got := site.seen()[1].Header.Get("If-Unmodified-Since"); got != "Fri, 02 Jan 2026 03:04:05 GMT" {
		t.Errorf("if-unmodified-since %q", got)
	}
}

func TestWithoutRangesTheBytesThatWereReadAreSkipped(t *testing.T) {
	for _, v := range []version{tagged(1 << 20), dated(1 << 20)} {
		deafCut := func(w http.ResponseWriter, r *http.Request) {
			v.deaf(&cutter{ResponseWriter: w, left: 200_000}, r)
		}
		whole(t, serve(t, deafCut, deafCut, v.deaf).URL, Options{}, v.content)
		// Never a byte more than the first time: no progress.
		refused(t, serve(t, deafCut).URL, Options{}, "broke off after 200,000 of 1,048,576 bytes, 3 times in a row")
	}
}

func TestASilentBodyIsResumed(t *testing.T) {
	v := tagged(100_000)
	site := serve(t, v.stall(50_000), v.ServeHTTP)
	l := small()
	l.idle = 50 * time.Millisecond
	var log logged
	got, err := load(t.Context(), site.URL, Options{Log: log.logger()}, l)
	if err != nil || string(got) != string(v.content) {
		t.Errorf("%d bytes: %v", len(got), err)
	}
	if !strings.Contains(log.String(), "nothing came for 50ms") {
		t.Errorf("the log says %q", log.String())
	}
}

func TestAReaderThatRestsIsNoSilence(t *testing.T) {
	v := tagged(8 << 20) // more than the sockets hold
	site := serve(t, v.ServeHTTP)
	l := small()
	l.idle = 500 * time.Millisecond
	s, err := open(t.Context(), site.URL, Options{}, l)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := io.ReadFull(s, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	<-time.After(l.idle + l.idle/4) // the rest itself, not a wait for a fact
	if all, err := io.ReadAll(s); err != nil || len(all) != 8<<20-1000 || len(site.seen()) != 1 {
		t.Errorf("%d bytes by %d requests: %v", len(all), len(site.seen()), err)
	}
}

func TestAnAnswerThatDoesNotComeIsTriedAgain(t *testing.T) {
	v := tagged(1000)
	silent := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	l := small()
	l.answer = 300 * time.Millisecond
	if _, err := load(t.Context(), serve(t, silent, v.ServeHTTP).URL, Options{}, l); err != nil {
		t.Error(err)
	}
	_, err := load(t.Context(), serve(t, silent).URL, Options{}, l)
	if err == nil || !strings.Contains(err.Error(), "no answer came within 300ms (tried 3 times)") {
		t.Error(err)
	}
}

func TestHalvesOfTwoVersionsAreNeverJoined(t *testing.T) {
	old, tag := tagged(1000), `"v1"`
	const changed = "changed while it was loaded"
	renamed := version{content: noise(1000), tag: `"v2"`}
	later := version{content: noise(1000), modified: dated(1).modified.Add(time.Second)}
	part := func(header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			answer(206, append([]string{"ETag", tag}, header...)...)(w, r)
			_, _ = w.Write(old.content[400:])
		}
	}
	for name, c := range map[string]struct {
		old  version
		then http.HandlerFunc
		want string
	}{
		"another tag":               {old, renamed.ServeHTTP, changed},
		"another tag, deaf":         {old, renamed.deaf, changed},
		"no tag any more":           {old, version{content: noise(1000)}.deaf, changed},
		"a weak tag":                {old, version{content: noise(1000), tag: `W/"v1"`}.deaf, changed},
		"another size, deaf":        {old, version{content: noise(1001), tag: tag}.deaf, changed},
		"another size":              {old, version{content: noise(1001), tag: tag}.ServeHTTP, changed},
		"shorter than what was had": {old, version{content: noise(300), tag: tag}.ServeHTTP, changed},
		"another date":              {dated(1000), later.ServeHTTP, changed},
		"another date, deaf":        {dated(1000), later.deaf, changed},
		"another part":              {old, part("Content-Range", "bytes 300-899/1000"), "answered with those from 300 on"},
		"an unknown part":           {old, part(), "Content-Range cannot be read"},
		"several parts":             {old, part("Content-Type", "multipart/byteranges"), "Content-Range cannot be read"},
		"a part without tag":        {old, part("ETag", "", "Content-Range", "bytes 400-999/1000"), changed},
		"gone":                      {old, http.NotFound, "could not be resumed: 404 Not Found"},
		"forbidden":                 {old, answer(403), "could not be resumed: 403 Forbidden"},
	} {
		t.Run(name, func(t *testing.T) {
			site := serve(t, c.old.cut(400), c.then)
			refused(t, site.URL, Options{}, c.want)
			if n := len(site.seen()); n != 2 {
				t.Errorf("%d requests", n)
			}
		})
	}
	// The same fault-free part is taken.
	whole(t, serve(t, old.cut(400), part("Content-Range", "bytes 400-999/*")).URL, Options{}, old.content)
}

func TestContentThatNothingNamesCannotBeResumed(t *testing.T) {
	for _, v := range []version{
		{content: noise(1000)},
		{content: noise(1000), tag: `W/"v1"`},
		{content: noise(1000), modified: time.Now().Add(time.Hour)}, // as young as can be
	} {
		refused(t, serve(t, v.cut(400), v.ServeHTTP).URL, Options{},
			"broke off after 400 of 1,000 bytes", "cannot be resumed")
	}
}

func TestAServerThatAnnouncesTheWrongLengthIsFoundOut(t *testing.T) {
	v := tagged(1000)
	lie := func(n string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", v.tag)
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			from := 0
			head := "HTTP/1.1 200 OK\r\n"
			if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil {
				head = fmt.Sprintf("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %d-%d/*\r\n", from, max(from, 999))
			}
			fmt.Fprintf(conn, "%sETag: %s\r\nContent-Length: %s\r\n\r\n%s", head, v.tag, n, v.content[from:])
		}
	}
	refused(t, serve(t, lie("1001")).URL, Options{}, "broke off after 1,000 of 1,001 bytes, 3 times in a row")
	// A message ends where it says: the rest is no part of it, and must not be printed as net/http does.
	got, err := get(t, serve(t, lie("999")).URL, Options{})
	if err != nil || len(got) != 999 {
		t.Errorf("%d bytes: %v", len(got), err)
	}
	long := func(w http.ResponseWriter, _ *http.Request) {
		answer(206, "ETag", v.tag, "Content-Range", "bytes 400-999/1000")(w, nil)
		_, _ = w.Write(make([]byte, 601))
	}
	refused(t, serve(t, v.cut(400), long).URL, Options{}, "sends more than the 1,000 bytes it announced")
}

func TestFinishCountsWhatCame(t *testing.T) {
	s, err := open(t.Context(), serve(t, tagged(1000).ServeHTTP).URL, Options{}, small())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Finish(999); err == nil || !strings.Contains(err.Error(), "999 of the 1,000 bytes") {
		t.Error(err)
	}
}

// python -m http.server knows dates, but neither ranges nor tags.
func TestPythonsServerIsResumedByReadingAgain(t *testing.T) {
	content := noise(4 << 20)
	dir := t.TempDir()
	path := filepath.Join(dir, "data.bin")
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	address := pythonServer(t, dir)
	s, err := open(t.Context(), "http://"+address+"/data.bin", Options{}, small())
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	_, err = open(t.Context(), "http://"+address+"/data.bin", Options{Unless: s.Validator()}, small())
	if err != ErrUnchanged { //nolint:errorlint // nothing wraps it
		t.Errorf("asked for what is had: %v", err)
	}
	whole(t, "http://"+address+"/data.bin", Options{}, content)
	var log logged
	whole(t, "http://"+cutting(t, address, 1<<20, 1)+"/data.bin", Options{Log: log.logger()}, content)
	if !strings.Contains(log.String(), "broke off") {
		t.Error("the connection was not cut: the test proves nothing")
	}
	refused(t, "http://"+address+"/nothing", Options{}, "404 Not Found")
}

// pythonServer serves a directory and returns where.
func pythonServer(t *testing.T, dir string) string {
	t.Helper()
	cmd := exec.Command(python(t), "-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory", dir, "0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	var port int
	if _, err := fmt.Fscanf(out, "Serving HTTP on 127.0.0.1 port %d", &port); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// cutting forwards connections, and breaks the first ones after so many bytes of the server's.
func cutting(t *testing.T, to string, after int64, times int) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				client.Close()
				continue
			}
			go func() { _, _ = io.Copy(server, client) }()
			if times--; times >= 0 {
				_, _ = io.CopyN(client, server, after)
			} else {
				_, _ = io.Copy(client, server)
			}
			server.Close()
			client.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

// The first answer did not say how much there is, the second said it and ended early, too.
func TestARestThatEndsEarlyIsNotTheEnd(t *testing.T) {
	v := tagged(300_000)
	part := func(from, to int, claim bool) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("ETag", v.tag)
			if claim {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(v.content)))
				w.WriteHeader(http.StatusPartialContent)
			}
			_, _ = w.Write(v.content[from:to])
			_ = http.NewResponseController(w).Flush()
			if !claim {
				panic(http.ErrAbortHandler) // in the middle of a chunked body
			}
		}
	}
	site := serve(t, part(0, 100_000, false), part(100_000, 101_000, true), part(101_000, 300_000, true))
	whole(t, site.URL, Options{}, v.content)
}
