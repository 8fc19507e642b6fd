// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package ready

// --ready http:PATH and tcp: who is asked, when, and which answers count.

import (
	"bufio"
	"context"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// answering is a listener with a server of our own; its requests are counted.
func answering(
	t *testing.T, network, address string, serve func(n int64, conn net.Conn),
) (dial string, requests *atomic.Int64) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	requests = new(atomic.Int64)
	ended := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-ended })
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serve(requests.Add(1), conn)
			conn.Close()
		}
	}()
	dial = l.Addr().String()
	if strings.HasPrefix(address, ":") || strings.HasPrefix(address, "0.0.0.0:") || strings.HasPrefix(address, "[::]:") {
		host, _, _ := strings.Cut(address, ":0") // as it is given: an unspecified host is dialled
		dial = host + dial[strings.LastIndexByte(dial, ':'):]
	}
	return network + " " + dial, requests
}

// says answers every request with text.
func says(text string) func(int64, net.Conn) {
	return func(_ int64, conn net.Conn) {
		for lines := bufio.NewScanner(conn); lines.Scan() && lines.Text() != ""; {
		}
		_, _ = io.WriteString(conn, text)
	}
}

func once(t *testing.T, mode, dial string) error {
	t.Helper()
	m, err := ParseMode(mode)
	if err != nil {
		t.Fatal(err)
	}
	return Probe{Mode: m, Dial: []string{dial, "tcp 127.0.0.1:1"}}.askOnce(t.Context())
}

func TestAnAnswerOf2xxOr3xxCounts(t *testing.T) {
	for answer, want := range map[string]string{
		"HTTP/1.1 200 OK\r\n\r\n":                          "",
		"HTTP/1.0 204\r\n\r\n":                             "",
		"HTTP/1.1 308 Permanent Redirect\nLocation: /\n\n": "",
		"HTTP/1.1 503 Service Unavailable\r\n\r\n":         "HTTP/1.1 503 Service Unavailable",
		"HTTP/1.1 404 Not Found\x1b[31m\r\n\r\n":           "Not Found\uFFFD[31m",
		"HTTP/1.1 100 Continue\r\n\r\n":                    "100 Continue",
		"HTTP/1.1 2000 OK\r\n\r\n":                         "2000 OK",
		"HTTP/1.1\r\n\r\n":                                 "not HTTP",
		"220 smtp.example.org\r\n":                         "not HTTP",
		"HTTP/1.1 200 OK":                                  "no status line",
		"":                                                 "no status line",
		"HTTP/1.1 200 " + strings.Repeat("x", answerMax) + "\r\n": "no status line",
	} {
		dial, _ := answering(t, "tcp", "127.0.0.1:0", says(answer))
		err := once(t, "http:/health?a=b", dial)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%.40q: %v, want %q", answer, err, want)
		}
	}
}

func TestTheRequestIsAPlainGet(t *testing.T) {
	var request []byte
	dial, _ := answering(t, "unix", filepath.Join(t.TempDir(), "a b.sock"), func(_ int64, conn net.Conn) {
		buffer := make([]byte, 1024)
		n, _ := conn.Read(buffer)
		request = buffer[:n]
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
	})
	if err := once(t, "http:/health?a=b", dial); err != nil {
		t.Fatal(err)
	}
	const want = "GET /health?a=b HTTP/1.1\r\nHost: localhost\r\nUser-Agent: preforkd\r\nConnection: close\r\n\r\n"
	if string(request) != want {
		t.Errorf("the request is %q", request)
	}
}

func TestAServerThatSaysNothingIsGivenUpSoon(t *testing.T) {
	dial, _ := answering(t, "tcp", "127.0.0.1:0", func(_ int64, conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	if err := once(t, "http:/", dial); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("%v", err)
	}
}

func TestUnspecifiedAddressesAreDialledByLoopback(t *testing.T) {
	for _, address := range []string{":0", "0.0.0.0:0", "[::]:0"} {
		if probe, err := net.Listen("tcp", address); err != nil {
			t.Logf("%s: %v", address, err)
			continue
		} else {
			probe.Close()
		}
		dial, _ := answering(t, "tcp", address, says("HTTP/1.1 200 OK\r\n\r\n"))
		if err := once(t, "http:/", dial); err != nil {
			t.Errorf("%s: %v", dial, err)
		}
	}
}

func TestAConnectionThatStaysIsReadyByTCP(t *testing.T) {
	silent := func(_ int64, conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }
	reset := func(_ int64, conn net.Conn) { _ = conn.(*net.TCPConn).SetLinger(0) }
	for name, c := range map[string]struct {
		serve func(int64, net.Conn)
		ready bool
	}{
		"silent":      {silent, true},
		"speaks":      {says("220 smtp.example.org\r\n"), true},
		"orderly end": {func(int64, net.Conn) {}, true},
		"reset":       {reset, false},
	} {
		dial, _ := answering(t, "tcp", "127.0.0.1:0", c.serve)
		if err := once(t, "tcp", dial); (err == nil) != c.ready {
			t.Errorf("%s: %v, want ready %v", name, err, c.ready)
		}
	}
	if err := once(t, "tcp", "tcp 127.0.0.1:1"); err == nil {
		t.Error("a port that nobody listens on is ready")
	}
}

// Another worker may answer on the shared listener: that says nothing about this one.
func TestAnAnswerCountsOnlyOfAWorkerThatWasSeen(t *testing.T) {
	for _, mode := range []string{"http:/", "tcp"} {
		t.Run(mode, func(t *testing.T) {
			listener, gate := listen(t), newGate(t)
			w := start(t, listener, gate, "", []string{findPython(t), "loops.py", "poll"})
			release := gate.entered(t, w)
			dial, requests := answering(t, "tcp", "127.0.0.1:0", func(n int64, conn net.Conn) {
				if n == 1 {
					_ = conn.(*net.TCPConn).SetLinger(0) // a reset: not ready yet
					return
				}
				says("HTTP/1.1 200 OK\r\n\r\n")(n, conn)
			})
			p := w.probe(nil)
			p.Mode, _ = ParseMode(mode)
			p.Dial = []string{dial}

			short, cancel := context.WithTimeout(t.Context(), pause*3)
			defer cancel()
			err := p.Wait(short)
			if err == nil || !strings.Contains(err.Error(), "none waits on it") || requests.Load() != 0 {
				t.Fatalf("during the import: %v after %d requests", err, requests.Load())
			}
			release()
			long, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := p.Wait(long); err != nil || requests.Load() != 2 {
				t.Errorf("%v after %d requests, want ready after 2\n%s", err, requests.Load(), w.output())
			}
		})
	}
}

func TestAnAnswerAloneCountsWhereNothingCanBeRead(t *testing.T) {
	dial, requests := answering(t, "tcp", "127.0.0.1:0", says("HTTP/1.1 200 OK\r\n\r\n"))
	notified := make(chan struct{})
	close(notified)
	p := Probe{Proc: t.TempDir(), PID: 10, Inodes: []uint64{1}, Dial: []string{dial}, Notified: notified}
	for i, mode := range []Mode{{Kind: HTTP, Path: "/"}, {Kind: TCP}} {
		p.Mode = mode
		if err := p.Wait(t.Context()); err != nil || requests.Load() != int64(i+1) {
			t.Errorf("%s: %v after %d requests", mode, err, requests.Load())
		}
	}
}

func TestWhatTheAnswerWasIsSaid(t *testing.T) {
	listener := listen(t)
	gate := newGate(t)
	w := start(t, listener, gate, "", []string{findPython(t), "loops.py", "poll"})
	gate.entered(t, w)()
	w.until(t, "seen", func() bool { v, _ := w.look(); return v == Seen })
	dial, _ := answering(t, "tcp", "127.0.0.1:0", says("HTTP/1.1 500 Oops\r\n\r\n"))
	p := w.probe(nil)
	p.Mode, p.Dial = Mode{Kind: HTTP, Path: "/up"}, []string{dial}
	ctx, cancel := context.WithTimeout(t.Context(), 2*askEvery)
	defer cancel()
	err := p.Wait(ctx)
	const want = "does not answer as --ready http:/up wants: the answer to GET /up is HTTP/1.1 500 Oops, not 2xx or 3xx"
	if err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
}
