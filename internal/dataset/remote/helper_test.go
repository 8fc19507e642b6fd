// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package remote

// What the tests share: servers with faults, made of real ones, and a child process for what net/http reads from the
// environment only once.

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// childURL makes the test binary load this address, print what came, and end.
const childURL = "PREFORKD_TEST_LOAD"

func TestMain(m *testing.M) {
	if address := os.Getenv(childURL); address != "" {
		os.Exit(loadHere(address))
	}
	goleak.VerifyTestMain(m)
}

func loadHere(address string) int {
	o := Options{Headers: []string{"X-Secret: hunter22"}, Log: slog.New(slog.NewTextHandler(os.Stdout, nil))}
	got, err := load(context.Background(), address, o, small())
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Printf("%x\n", sha256.Sum256(got))
	return 0
}

// child loads an address in a process with this environment, and returns what it printed.
func child(t *testing.T, address string, env ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append([]string{childURL + "=" + address, "GOCOVERDIR=" + t.TempDir()}, env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// small are limits for servers that fail on purpose; nothing that works comes near them.
func small() limits {
	return limits{
		tries: 3, waitMin: time.Millisecond, waitMax: 4 * time.Millisecond, waitAll: 50 * time.Millisecond,
		connect: 10 * time.Second, answer: 10 * time.Second, idle: 10 * time.Second, look: 10 * time.Second,
	}
}

// load reads all of an address.
func load(ctx context.Context, address string, o Options, l limits) ([]byte, error) {
	s, err := open(ctx, address, o, l)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	all, err := io.ReadAll(s)
	if err == nil {
		err = s.Finish(int64(len(all)))
	}
	return all, err
}

func get(t *testing.T, address string, o Options) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	got, err := load(ctx, address, o, small())
	if ctx.Err() != nil {
		t.Error("it ended only with the time of the test")
	}
	return got, err
}

// whole loads and wants exactly this content.
func whole(t *testing.T, address string, o Options, want []byte) {
	t.Helper()
	got, err := get(t, address, o)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%d bytes came, not the %d of the content", len(got), len(want))
	}
}

// refused loads and wants an error with all these words in it.
func refused(t *testing.T, address string, o Options, words ...string) string {
	t.Helper()
	_, err := get(t, address, o)
	if err == nil {
		t.Fatal("it was loaded")
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %q", err, word)
		}
	}
	return err.Error()
}

// site is a server that answers each request with the next of its handlers, and from then on with the last.
type site struct {
	*httptest.Server
	mu       sync.Mutex
	handlers []http.HandlerFunc
	requests []*http.Request
}

func serve(t *testing.T, handlers ...http.HandlerFunc) *site {
	t.Helper()
	s := &site{handlers: handlers}
	s.Server = httptest.NewUnstartedServer(s)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	handler := s.handlers[min(len(s.requests), len(s.handlers)-1)]
	s.requests = append(s.requests, r)
	s.mu.Unlock()
	handler(w, r)
}

// seen are the requests so far.
func (s *site) seen() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clip(s.requests)
}

// version is one state of the content, with what names it.
type version struct {
	content  []byte
	tag      string
	modified time.Time
}

// ServeHTTP is the standard library's, with ranges and conditions.
func (v version) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if v.tag != "" {
		w.Header().Set("ETag", v.tag)
	}
	http.ServeContent(w, r, "data.bin", v.modified, bytes.NewReader(v.content))
}

// cut breaks the connection after n bytes of the body.
func (v version) cut(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { v.ServeHTTP(&cutter{ResponseWriter: w, left: n}, r) }
}

// deaf knows no ranges and no conditions.
func (v version) deaf(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		r = r.Clone(r.Context())
		for _, name := range []string{"Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"} {
			r.Header.Del(name)
		}
	}
	v.ServeHTTP(w, r)
}

type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(p []byte) (int, error) {
	if len(p) < c.left {
		c.left -= len(p)
		return c.ResponseWriter.Write(p)
	}
	_, _ = c.ResponseWriter.Write(p[:c.left])
	_ = http.NewResponseController(c.ResponseWriter).Flush()
	panic(http.ErrAbortHandler)
}

// stall sends n bytes of a body and then nothing until the client is gone.
func (v version) stall(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", v.tag)
		w.Header().Set("Content-Length", fmt.Sprint(len(v.content)))
		_, _ = w.Write(v.content[:n])
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
}

func answer(code int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
	}
}

// noise is n bytes that differ from place to place.
func noise(n int) []byte {
	out := make([]byte, n)
	x := uint64(n) | 1
	for i := range out {
		x = x*6364136223846793005 + 1442695040888963407
		out[i] = byte(x >> 56)
	}
	return out
}

// tagged is a version with a strong ETag, dated one with a Last-Modified only.
func tagged(n int) version { return version{content: noise(n), tag: `"v1"`} }

func dated(n int) version {
	return version{content: noise(n), modified: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
}

// logged is a log whose text can be read.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logged) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
