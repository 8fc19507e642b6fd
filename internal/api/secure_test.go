// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// TLS with certificates made here, and files that change or are wrong.

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/preforkd/preforkd/internal/api/apitest"
)

// pair is a certificate that signs itself, and its key.
type pair struct{ cert, key string }

func newPair(t *testing.T, serial int64) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "preforkd test"},
		IsCA: true, BasicConstraintsValid: true, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost", "evil.example"},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return pair{text("CERTIFICATE", cert), text("PRIVATE KEY", private)}
}

// files writes a pair and returns where.
func (p pair) files(t *testing.T) Security {
	t.Helper()
	dir := t.TempDir()
	s := Security{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	put(t, s.Cert, p.cert)
	put(t, s.Key, p.key)
	return s
}

// trusting returns a client that trusts these pairs and nobody else, and would speak HTTP/2.
func trusting(t *testing.T, pairs ...pair) *http.Client {
	t.Helper()
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	for _, p := range pairs {
		config.RootCAs.AppendCertsFromPEM([]byte(p.cert))
	}
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// serveTLS serves and returns the base URL.
func serveTLS(t *testing.T, s Security, log *slog.Logger) string {
	t.Helper()
	l, err := ListenSecure("127.0.0.1:0", s)
	if err != nil {
		t.Fatal(err)
	}
	server := Start(apitest.NewSource(apitest.Example()), nil, log, l)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := server.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return "https://" + l.Address()
}

// over asks by a client and returns the status and the serial number of the certificate.
func over(t *testing.T, c *http.Client, url string, header ...string) (int, int64) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			request.Host = header[i+1]
		}
	}
	response, err := c.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.ProtoMajor != 1 {
		t.Errorf("%s speaks %s", url, response.Proto)
	}
	return response.StatusCode, response.TLS.PeerCertificates[0].SerialNumber.Int64()
}

func TestTLSServesEverythingOverHTTP1(t *testing.T) {
	p := newPair(t, 1)
	url := serveTLS(t, p.files(t), slog.New(slog.DiscardHandler))
	c := trusting(t, p)
	for _, path := range []string{"/", "/stats", "/metrics", "/history", "/healthz"} {
		if got, _ := over(t, c, url+path); got != 200 {
			t.Errorf("%s: %d", path, got)
		}
	}
	if got, _ := over(t, c, url+"/stats", "Host", "evil.example"); got != 403 {
		t.Errorf("a foreign Host over TLS: %d", got)
	}
	e := hark(t, c, url+"/events")
	e.until()
	e.until()
	plain, body := ask(t, "GET", "http"+strings.TrimPrefix(url, "https")+"/stats")
	if plain.StatusCode != 400 || strings.Contains(body, "schema") {
		t.Errorf("without TLS: %s %q", plain.Status, body)
	}
	old, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), &tls.Config{
		MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11, InsecureSkipVerify: true,
	})
	if err == nil {
		old.Close()
		t.Error("TLS 1.1 is spoken")
	}
}

func TestTLSAndPasswordsGoTogether(t *testing.T) {
	p := newPair(t, 1)
	s := p.files(t)
	s.Auth = htpasswd(t)
	url := serveTLS(t, s, slog.New(slog.DiscardHandler))
	c := trusting(t, p)
	for path, want := range map[string]int{"/stats": 401, "/events": 401, "/healthz": 200} {
		if got, _ := over(t, c, url+path); got != want {
			t.Errorf("%s without a password: %d", path, got)
		}
	}
	request, _ := http.NewRequest(http.MethodGet, "/", http.NoBody)
	request.SetBasicAuth("bob", "blue")
	hark(t, c, url+"/events", "Authorization", request.Header.Get("Authorization")).until()
}

func TestACertificateIsReplacedWithoutARestart(t *testing.T) {
	t.Parallel()
	var out syncBuffer
	first, second := newPair(t, 1), newPair(t, 2)
	s := first.files(t)
	url := serveTLS(t, s, slog.New(slog.NewTextHandler(&out, nil)))
	c := trusting(t, first, second)
	serial := func() int64 {
		status, n := over(t, c, url+"/healthz")
		if status != 200 {
			t.Fatalf("status %d", status)
		}
		return n
	}
	if n := serial(); n != 1 {
		t.Fatalf("certificate %d", n)
	}
	put(t, s.Cert, second.cert) // its key comes later, as it does in life
	eventually(t, "the pair that does not match is logged", func() bool {
		if n := serial(); n != 1 {
			t.Fatalf("certificate %d with the key of another", n)
		}
		return strings.Contains(out.String(), "level=ERROR")
	})
	if text := out.String(); !strings.Contains(text, s.Cert) || !strings.Contains(text, s.Key) {
		t.Errorf("logged:\n%s", text)
	}
	put(t, s.Key, second.key)
	eventually(t, "the new certificate", func() bool { return serial() == 2 })
	if err := os.Remove(s.Key); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the missing key is logged", func() bool {
		return serial() == 2 && strings.Count(out.String(), "level=ERROR") == 2
	})
	put(t, s.Key, first.key)
	put(t, s.Cert, first.cert)
	eventually(t, "the first one again", func() bool { return serial() == 1 })
	if n := strings.Count(out.String(), "level=ERROR"); n > 3 { // the third: read between the two
		t.Errorf("%d errors logged:\n%s", n, out.String())
	}
}

func TestFilesAreLookedAtOnceASecondAndABrokenOneIsLoggedOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	put(t, path, "1")
	var out syncBuffer
	reads, weather := 0, error(nil)
	w, err := watch("test", func() (string, error) {
		reads++
		text, err := readFile(path)
		return string(text), errors.Join(err, weather)
	}, path)
	if err != nil {
		t.Fatal(err)
	}
	w.log = slog.New(slog.NewTextHandler(&out, nil))
	for range 100 {
		w.look()
	}
	if reads != 1 {
		t.Errorf("%d readings of a file that does not change", reads)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		w.look()
	}
	if n := strings.Count(out.String(), "level=ERROR"); n != 1 || *w.value.Load() != "1" {
		t.Errorf("logged %d times, the value is %q:\n%s", n, *w.value.Load(), out.String())
	}
	put(t, path, "2")
	w.look()
	if *w.value.Load() != "2" {
		t.Errorf("the value is %q", *w.value.Load())
	}
	put(t, path, "2")
	weather = errors.New("a file system that is away for a moment")
	w.look()
	weather = nil
	before := reads
	if w.look(); reads != before+1 {
		t.Error("what could not be read once is not read again before it changes")
	}
	if got := w.get(); got != "2" {
		t.Errorf("get = %q", got)
	}
	put(t, path, "3")
	before = reads
	for range 100 {
		w.get()
	}
	if reads-before > 1 { // the second may be over meanwhile
		t.Errorf("%d readings at once", reads-before)
	}
}

func TestWhatIsWrongWithACertificateIsToldByFile(t *testing.T) {
	p, other := newPair(t, 1), newPair(t, 2)
	dir := t.TempDir()
	at := func(name, text string) string {
		path := filepath.Join(dir, name)
		put(t, path, text)
		return path
	}
	cert, key, wrong, empty := at("cert", p.cert), at("key", p.key), at("wrong", other.key), at("empty", "")
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(dir, "missing")
	for _, test := range []struct {
		s    Security
		want string
	}{
		{Security{Cert: cert}, "only one of them is given"},
		{Security{Key: key}, "only one of them is given"},
		{Security{Cert: missing, Key: key}, "cannot use the certificate " + missing + ": no such file"},
		{Security{Cert: cert, Key: missing}, "cannot use the key " + missing + ": no such file"},
		{Security{Cert: dir, Key: key}, "cannot use the certificate " + dir + ": it is not a regular file"},
		{Security{Cert: pipe, Key: key}, "cannot use the certificate " + pipe + ": it is not a regular file"},
		{Security{Cert: cert, Key: wrong}, "cannot use the certificate " + cert + " with the key " + wrong + ": "},
		{Security{Cert: empty, Key: key}, "cannot use the certificate " + empty},
		{Security{Cert: key, Key: cert}, "cannot use the certificate " + key},
		{Security{Auth: missing}, "cannot use the password file " + missing + ": no such file"},
		{Security{Cert: missing, Key: key, Auth: empty}, "cannot use the password file " + empty},
	} {
		err := test.s.Check()
		if err == nil || !strings.HasPrefix(err.Error(), "cannot ") || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want %q", test.s, err, test.want)
		}
		if l, err := ListenSecure("127.0.0.1:0", test.s); err == nil || l != nil {
			t.Errorf("%+v is listened with", test.s)
		}
	}
	if err := (Security{}).Check(); err != nil {
		t.Errorf("nothing: %v", err)
	}
	if err := (Security{Cert: cert, Key: key, Auth: htpasswd(t)}).Check(); err != nil {
		t.Errorf("all that is right: %v", err)
	}
}

func TestAnAddressThatOthersReachIsWarnedOf(t *testing.T) {
	tls := newPair(t, 1).files(t)
	auth := Security{Auth: htpasswd(t)}
	both := Security{Cert: tls.Cert, Key: tls.Key, Auth: auth.Auth}
	socket := "unix:" + filepath.Join(t.TempDir(), "s")
	for _, test := range []struct {
		address string
		s       Security
		want    []string // the flags that it tells of
	}{
		{"127.0.0.1:0", Security{}, nil},
		{"localhost:0", Security{}, nil},
		{socket, Security{}, nil},
		{"off", Security{}, nil},
		{"0.0.0.0:0", both, nil},
		{"0.0.0.0:0", Security{}, []string{"--stats-cert", "--stats-auth"}},
		{":0", Security{}, []string{"--stats-cert", "--stats-auth"}},
		{"0.0.0.0:0", tls, []string{"--stats-auth"}},
		{"0.0.0.0:0", auth, []string{"--stats-cert"}},
	} {
		l, err := ListenSecure(test.address, test.s)
		if err != nil {
			t.Fatal(err)
		}
		got := l.Warning()
		if l != nil {
			if test.want != nil && !strings.Contains(got, l.Address()) {
				t.Errorf("%q does not name %s", got, l.Address())
			}
			l.Close()
		}
		for _, flag := range []string{"--stats-cert", "--stats-auth"} {
			if strings.Contains(got, flag) != slices.Contains(test.want, flag) {
				t.Errorf("%s: %q, want it to tell of %q", test.address, got, test.want)
			}
		}
		if test.want == nil && got != "" || strings.Contains(got, "\n") {
			t.Errorf("%s with %+v: %q", test.address, test.s, got)
		}
	}
}

// Clients that connect and never speak, or never finish the handshake, have no more time than it takes to send a
// header.
func TestHandshakesAreBoundedAndCutOff(t *testing.T) {
	t.Parallel()
	p := newPair(t, 1)
	url := serveTLS(t, p.files(t), slog.New(slog.DiscardHandler))
	slow := make([]net.Conn, 100)
	for i := range slow {
		conn, err := net.Dial("tcp", strings.TrimPrefix(url, "https://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if i%2 == 0 {
			io.WriteString(conn, "\x16\x03\x01\x02") // the beginning of a hello
		}
		slow[i] = conn
	}
	if got, _ := over(t, trusting(t, p), url+"/healthz"); got != 200 {
		t.Errorf("behind them: %d", got)
	}
	for i, conn := range slow {
		conn.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, err := io.ReadAll(conn); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Fatalf("client %d is still connected: %v", i, err)
		}
	}
}
