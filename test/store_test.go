// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// A server that data is loaded from, and what must never be seen of its secrets.

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// store serves one object, with ranges and conditions, as object stores do. Its fields may be changed between two loads.
type store struct {
	*httptest.Server

	mu      sync.Mutex
	content []byte
	etag    string
	cuts    []int                    // the connection of the first, second … request breaks off after so many bytes
	answers []int                    // the first requests get these statuses instead
	allow   func(*http.Request) bool // who may read, 401 for others; nil: everybody. It may change the rest
	seen    []*http.Request
	sent    int64 // bytes of bodies
}

func newStore(t *testing.T, content []byte) *store {
	s := &store{content: content, etag: `"v1"`}
	s.Server = httptest.NewUnstartedServer(s)
	t.Cleanup(func() { s.Close() })
	s.Start()
	return s
}

// newTLSStore serves by https as the given hosts. env is what preforkd must know to trust it.
func newTLSStore(t *testing.T, content []byte, hosts ...string) (s *store, env string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "preforkd e2e"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), DNSNames: hosts, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	s = &store{content: content, etag: `"v1"`}
	s.Server = httptest.NewUnstartedServer(s)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	t.Cleanup(func() { s.Close() })
	s.StartTLS()
	return s, trusting(t, s.Server)
}

// trusting is the variable that makes a server's certificate one of an authority.
func trusting(t *testing.T, s *httptest.Server) (env string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "authority.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return "SSL_CERT_FILE=" + path
}

func (s *store) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// requests are those since the last call, and the bytes that were sent for them.
func (s *store) requests() (seen []*http.Request, sent int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen, sent = s.seen, s.sent
	s.seen, s.sent = nil, 0
	return seen, sent
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	status, cut := http.StatusOK, -1
	s.seen = append(s.seen, r.Clone(r.Context()))
	switch {
	case s.allow != nil && !s.allow(r):
		status = http.StatusUnauthorized
	case len(s.answers) > 0:
		status, s.answers = s.answers[0], s.answers[1:]
	case len(s.cuts) > 0:
		cut, s.cuts = s.cuts[0], s.cuts[1:]
	}
	content, etag := s.content, s.etag
	s.mu.Unlock()
	if status != http.StatusOK {
		// A server that tells all the world what it was asked.
		http.Error(w, fmt.Sprint(r.Header, r.URL), status)
		return
	}
	w.Header().Set("ETag", etag)
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(&counted{w, s, cut}, r, "", time.Time{}, bytes.NewReader(content))
}

// counted counts a body and breaks it off.
type counted struct {
	http.ResponseWriter
	store *store
	left  int // -1: no end
}

func (c *counted) Write(p []byte) (int, error) {
	whole := c.left < 0 || len(p) < c.left
	if !whole {
		p = p[:c.left]
	}
	n, err := c.ResponseWriter.Write(p)
	c.store.set(func() { c.store.sent += int64(n) })
	if !whole {
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	if c.left >= 0 {
		c.left -= n
	}
	return n, err
}

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// keepsSecret looks for secrets wherever a fleet tells anything: logs, stats, metrics, status, command lines and, if it has
// workers, what these were given.
func (f *fleet) keepsSecret(secrets ...string) {
	f.t.Helper()
	places := map[string]string{"the log": f.output()}
	if _, body, err := f.ask("/stats"); err == nil {
		places["/stats"] = string(body)
		_, body, _ = f.ask("/metrics")
		places["/metrics"] = string(body)
		places["status"], _, _ = f.verb("status")
	}
	for _, pid := range marked(f.t, f.mark) {
		name := fmt.Sprintf("process %d's ", pid)
		for _, file := range []string{"cmdline", "environ"} {
			if file == "environ" && pid == f.pid {
				continue // it is where it was given
			}
			text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
			places[name+file] = string(text)
		}
	}
	for place, text := range places {
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				f.t.Errorf("%s tells %q:\n%s", place, secret, text)
			}
		}
	}
}

// relay answers a CONNECT with a connection to an address.
func relay(t *testing.T, w http.ResponseWriter, to string) {
	there, err := net.Dial("tcp", to)
	if err != nil {
		t.Error(err)
		return
	}
	defer there.Close()
	w.WriteHeader(http.StatusOK)
	here, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	defer here.Close()
	go func() {
		_, _ = io.Copy(there, here)
		there.Close()
	}()
	_, _ = io.Copy(here, there)
}
