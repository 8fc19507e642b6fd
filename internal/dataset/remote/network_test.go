// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package remote

// Certificates and proxies, in child processes: net/http reads their variables once.

import (
	"crypto/sha256"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// secure starts a TLS server, which speaks HTTP/2 too, and returns it with the file of its certificate.
func secure(t *testing.T, handler http.Handler) (*httptest.Server, string) {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.EnableHTTP2 = true
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	t.Cleanup(s.Close)
	path := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(path, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return s, path
}

// loadedBy wants that the child printed this content's digest, last.
func loadedBy(t *testing.T, v version, address string, env ...string) string {
	t.Helper()
	out, err := child(t, address, env...)
	if want := fmt.Sprintf("%x\n", sha256.Sum256(v.content)); err != nil || !strings.HasSuffix(out, want) {
		t.Fatalf("it printed %q, want %q: %v", out, want, err)
	}
	return out
}

func failedBy(t *testing.T, address, want string, env ...string) {
	t.Helper()
	out, err := child(t, address, env...)
	if err == nil || !strings.Contains(out, want) || strings.Contains(out, "hunter") {
		t.Errorf("it printed %q, want %q: %v", out, want, err)
	}
}

func TestHTTPSIsLoadedAndResumed(t *testing.T) {
	v := tagged(3 << 20)
	seen := &site{handlers: []http.HandlerFunc{v.cut(1 << 20), answer(503), v.ServeHTTP}}
	s, ca := secure(t, seen)
	out := loadedBy(t, v, s.URL, "SSL_CERT_FILE="+ca)
	if !strings.Contains(out, "broke off") {
		t.Errorf("it was not broken off: %s", out)
	}
	if r := seen.seen()[2]; r.Proto != "HTTP/1.1" || r.Header.Get("Range") == "" {
		t.Errorf("%s, %v", r.Proto, r.Header)
	}
}

func TestNoConnectionIsLeft(t *testing.T) {
	v := tagged(3 << 20)
	var open atomic.Int64
	server := httptest.NewUnstartedServer(v)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		}
	}
	server.Start()
	defer server.Close()
	for _, whole := range []bool{false, true} {
		s, err := Open(t.Context(), server.URL, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if whole {
			if n, err := io.Copy(io.Discard, s); n != 3<<20 || err != nil {
				t.Errorf("%d bytes: %v", n, err)
			}
		}
		s.Close()
		until(t, "its connection was closed", func() bool { return open.Load() == 0 })
	}
}

func TestACertificateThatNobodyKnowsIsRefusedAtOnce(t *testing.T) {
	seen := &site{handlers: []http.HandlerFunc{tagged(1000).ServeHTTP}}
	s, _ := secure(t, seen)
	failedBy(t, s.URL+"?hunter22", "unknown authority: name the file of its authority in SSL_CERT_FILE\n")
	if len(seen.seen()) != 0 {
		t.Error("it was asked all the same")
	}
}

func TestTLSToAPortWithoutItIsRefusedAtOnce(t *testing.T) {
	s := serve(t, tagged(1000).ServeHTTP)
	text := refused(t, strings.Replace(s.URL, "http:", "https:", 1), Options{}, "does not speak TLS")
	if strings.Contains(text, "tried") {
		t.Error(text)
	}
}

func TestARedirectToHTTPIsRefused(t *testing.T) {
	plain := serve(t, tagged(1000).ServeHTTP)
	s, ca := secure(t, http.RedirectHandler(plain.URL+"/?hunter22", http.StatusFound))
	failedBy(t, s.URL, "redirects from https to "+plain.URL+",", "SSL_CERT_FILE="+ca)
	if len(plain.seen()) != 0 {
		t.Error("it was followed")
	}
}

// Ports are part of the host, and so is the scheme.
func TestARedirectToHTTPSIsFollowedWithoutSecrets(t *testing.T) {
	v := tagged(1000)
	seen := &site{handlers: []http.HandlerFunc{v.ServeHTTP}}
	s, ca := secure(t, seen)
	plain := serve(t, http.RedirectHandler(s.URL, http.StatusMovedPermanently).ServeHTTP)
	loadedBy(t, v, plain.URL, "SSL_CERT_FILE="+ca)
	if got := plain.seen()[0].Header.Get("X-Secret"); got == "" {
		t.Error("the first host got no header: the test proves nothing")
	}
	if got := seen.seen()[0].Header.Get("X-Secret"); got != "" {
		t.Errorf("the second host got %q", got)
	}
}

// proxy forwards both forms of requests to one place, whatever host they name. With a user it wants that one.
type proxy struct {
	to   string
	user string
	site site
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.site.mu.Lock()
	p.site.requests = append(p.site.requests, r)
	p.site.mu.Unlock()
	if p.user != "" && r.Header.Get("Proxy-Authorization") != p.user {
		w.WriteHeader(http.StatusProxyAuthRequired)
		return
	}
	server, err := net.Dial("tcp", p.to)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer server.Close()
	client, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer client.Close()
	if r.Method == http.MethodConnect {
		fmt.Fprint(client, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(server, client) }()
	} else {
		_ = r.Write(server)
	}
	_, _ = io.Copy(client, server)
}

func TestProxiesAreUsedByTheirVariables(t *testing.T) {
	v := tagged(2 << 20)
	plain := serve(t, v.ServeHTTP)
	p := &proxy{to: plain.Listener.Addr().String()}
	s := httptest.NewServer(p)
	defer s.Close()
	loadedBy(t, v, "http://data.example/x", "HTTP_PROXY="+s.URL)
	if got := p.site.seen()[0].RequestURI; got != "http://data.example/x" {
		t.Errorf("the proxy was asked for %q", got)
	}

	tls, ca := secure(t, v) // its certificate is for example.com
	p = &proxy{to: tls.Listener.Addr().String(), user: "Basic dXNlcjpodW50ZXIyMg=="}
	s2 := httptest.NewServer(p)
	defer s2.Close()
	with := strings.Replace(s2.URL, "://", "://user:hunter22@", 1)
	loadedBy(t, v, "https://example.com/x", "HTTPS_PROXY="+with, "SSL_CERT_FILE="+ca)
	if r := p.site.seen()[0]; r.Method != http.MethodConnect || r.Host != "example.com:443" ||
		r.Header.Get("X-Secret") != "" {
		t.Errorf("the proxy was asked for %s %s with %v", r.Method, r.Host, r.Header)
	}
	failedBy(t, "https://example.com/x",
		"answered 407 Proxy Authentication Required: give user and password in HTTPS_PROXY\n",
		"HTTPS_PROXY="+s2.URL, "SSL_CERT_FILE="+ca)
	failedBy(t, "http://example.com/x", "407 Proxy Authentication Required: give user and password", "HTTP_PROXY="+s2.URL)
	s2.Close()
	failedBy(t, "https://example.com/x", "connection refused (tried 3 times)\n", "HTTPS_PROXY="+with)
}

// A proxy may repeat what it was sent.
func TestNoMessageHoldsTheSecretsOfAProxy(t *testing.T) {
	echo := serve(t, func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "%s hunter2~2 and hunter2%%7E2\r\n", r.Header.Get("Proxy-Authorization"))
	})
	with := strings.Replace(echo.URL, "://", "://user:hunter2%7E2@", 1)
	for _, variable := range []string{"HTTP_PROXY=" + with, "http_proxy=" + with, "http_proxy=" + strings.TrimPrefix(with, "http://")} {
		out, err := child(t, "http://data.example/x", variable)
		if err == nil || !strings.Contains(out, "malformed HTTP") || strings.Contains(out, "hunter") || strings.Contains(out, "dXNlcjpod") {
			t.Errorf("it printed %q, %v", out, err)
		}
	}
}
