// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: data comes whole over http and https, by proxies, over connections that break and servers that are busy; what has
// not changed is not fetched again; what cannot fit is not fetched at all; secrets reach the server and nobody else.

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/preforkd/preforkd/internal/host/cgrouptest"
	"github.com/preforkd/preforkd/supervisor"
)

// noise is content without any pattern.
func noise(t *testing.T, size int) []byte {
	t.Helper()
	content := make([]byte, size)
	if _, err := io.ReadFull(rand.NewChaCha8([32]byte{2}), content); err != nil {
		t.Fatal(err)
	}
	return content
}

// readBlob starts workers that read all of the dataset blob and say its digest.
func readBlob(t *testing.T, s spec, source string) *fleet {
	t.Helper()
	s.flags = append([]string{"-w", "2", "-d", "blob=" + source, "--ready", "notify"}, s.flags...)
	s.command = []string{python(t, nil), script(t, "reader.py")}
	return start(t, s)
}

// haveRead waits until every worker has read content as this version.
func (f *fleet) haveRead(content []byte, version int) *supervisor.Snapshot {
	f.t.Helper()
	snap := f.settled(2)
	for _, w := range snap.Workers {
		if w.StatusText != digestOf(content) {
			f.t.Errorf("worker %d read %q, want %s", w.ID, w.StatusText, digestOf(content))
		}
	}
	if len(snap.Data) != 1 || snap.Data[0].Version != version || *snap.Data[0].Size != int64(len(content)) {
		f.t.Errorf("data: %+v, want version %d of %d bytes alone", snap.Data, version, len(content))
	}
	return snap
}

func TestADownloadIsResumedWhereItBroke(t *testing.T) {
	content := noise(t, 24*mib)
	s, trust := newTLSStore(t, content)
	s.set(func() {
		s.cuts = []int{5 * mib, 7 * mib}
		s.answers = []int{http.StatusServiceUnavailable} // and it is busy at first
	})
	f := readBlob(t, spec{env: []string{trust}}, s.URL+"/blob.bin")
	f.haveRead(content, 1)
	seen, sent := s.requests()
	if len(seen) != 4 || sent > int64(len(content))+4*mib {
		t.Errorf("%d requests, %d bytes were sent for %d", len(seen), sent, len(content))
	}
	last := 0
	for i, r := range seen {
		first, given := strings.CutPrefix(strings.TrimSuffix(r.Header.Get("Range"), "-"), "bytes=")
		from, _ := strconv.Atoi(first)
		if given != (i > 1) || given && (from <= last || r.Header.Get("If-Match") != `"v1"`) {
			t.Errorf("request %d: %v, the one before began at %d", i, r.Header, last)
		}
		last = from
	}
	if told := f.logged("download broke off, it will be resumed"); len(told) != 2 {
		t.Errorf("the log tells of %d breaks: %v", len(told), told)
	}
	f.stop()
}

func TestADownloadOfAnotherVersionIsNotMixedIn(t *testing.T) {
	s := newStore(t, noise(t, 8*mib))
	s.set(func() {
		s.cuts = []int{3 * mib}
		s.allow = func(r *http.Request) bool {
			if r.Header.Get("Range") != "" {
				s.etag = `"v2"` // published while it was read
			}
			return true
		}
	})
	refusedWith(t, spec{flags: []string{"-d", "blob=" + s.URL + "/blob.bin"}},
		`cannot load dataset "blob": http://\S+/blob\.bin: changed while it was loaded: load it again`)
}

func TestUnchangedContentIsNotFetchedAgain(t *testing.T) {
	one, two := noise(t, 4*mib), bytes.Repeat([]byte("two"), mib)
	s := newStore(t, one)
	f := readBlob(t, spec{}, s.URL+"/blob.bin")
	before := mainPIDs(f.haveRead(one, 1))
	s.requests()

	for range 2 {
		if text := f.must("reload", "blob"); !strings.Contains(text, "no worker replaced; blob has not changed, it stays at version 1") {
			t.Errorf("reload said %q", text)
		}
		seen, sent := s.requests()
		if len(seen) != 1 || sent != 0 || seen[0].Header.Get("If-None-Match") != `"v1"` {
			t.Errorf("%d requests, %d bytes", len(seen), sent)
		}
		if snap := f.haveRead(one, 1); !slices.Equal(mainPIDs(snap), before) || snap.Supervisor.LastReload.Result != supervisor.ReloadUnchanged {
			t.Errorf("workers %v before, %v after; last reload %+v", before, mainPIDs(snap), snap.Supervisor.LastReload)
		}
	}
	// Without names it is for new code as well.
	if text := f.must("reload"); !strings.Contains(text, "2 workers replaced") || !strings.Contains(text, "blob has not changed") {
		t.Errorf("reload said %q", text)
	}
	f.haveRead(one, 1)

	// Another tag, and the same bytes.
	s.set(func() { s.etag = `"v1-again"` })
	if text := f.must("reload", "blob"); !strings.Contains(text, "stays at version 1") {
		t.Errorf("reload said %q", text)
	}
	s.requests()
	f.must("reload", "blob")
	if seen, sent := s.requests(); len(seen) != 1 || sent != 0 || seen[0].Header.Get("If-None-Match") != `"v1-again"` {
		t.Errorf("the new tag is not remembered: %d requests, %d bytes", len(seen), sent)
	}
	s.set(func() { s.etag, s.content = `"v2"`, two })
	if text := f.must("reload", "blob"); !strings.Contains(text, "blob is now version 2") {
		t.Errorf("reload said %q", text)
	}
	f.haveRead(two, 2)

	// A server that fails leaves version 2 serving.
	serving := mainPIDs(f.settled(2))
	s.set(func() { s.answers = []int{http.StatusNotFound} })
	if _, stderr, code := f.verb("reload", "blob"); code != 3 || !strings.Contains(stderr, "404 Not Found: check the address") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	f.haveRead(two, 2)
	f.servesOn(t, serving, "404 Not Found")
	f.stop()
}

func TestATokenReachesTheServerAndNobodyElse(t *testing.T) {
	const token, key, query = "tok-1f9d8c7b6a", "key-5e4d3c2b1a", "sig-0a1b2c3d4e"
	content := noise(t, mib)
	s, trust := newTLSStore(t, content)
	want := token
	s.set(func() {
		s.cuts = []int{mib / 2} // breaks are told of in the log
		s.allow = func(r *http.Request) bool {
			return r.Header.Get("Authorization") == "Bearer "+want && r.Header.Get("X-Api-Key") == key && r.URL.Query().Get("sig") == query
		}
	})
	dir := place(t)
	file := filepath.Join(dir, "token")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(token)
	// A configuration file: what stands on the command line everybody sees.
	config := fmt.Sprintf("[data]\nblob = %q\n[data-opt]\nblob.header = %q\nblob.token-file = %q\n",
		s.URL+"/blob.bin?sig="+query, "X-Api-Key: "+key, file)
	if err := os.WriteFile(filepath.Join(dir, "preforkd.toml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	command := []string{python(t, nil), script(t, "reader.py")}
	f := start(t, spec{
		dir: dir, env: []string{trust}, command: command,
		flags: []string{"--config", "preforkd.toml", "-w", "2", "--ready", "notify", "--log-level", "debug"},
	})
	f.haveRead(content, 1)
	f.keepsSecret(token, key, query)

	// It is read again at each load.
	s.set(func() { want, s.etag, s.content = "tok-second", `"v2"`, content[:mib/2] })
	_, stderr, code := f.verb("reload")
	if code != 3 || !strings.Contains(stderr, "401 Unauthorized: the given header, token or user was not accepted") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	for _, secret := range []string{token, key, query} {
		if strings.Contains(stderr, secret) {
			t.Errorf("the error tells %q: %s", secret, stderr)
		}
	}
	write("tok-second")
	f.must("reload")
	f.haveRead(content[:mib/2], 2)
	f.keepsSecret(token, key, query, "tok-second")
	f.stop()

	// Where the first load fails there is no fleet, but an error, and check tells the same.
	write("tok-wrong")
	failed := start(t, spec{dir: dir, env: []string{trust}, flags: []string{"--config", "preforkd.toml"}, command: sleeper})
	failed.exits(3)
	failed.keepsSecret("tok-wrong", key, query)
	const refusal = "/blob.bin: 401 Unauthorized: the given header, token or user was not accepted"
	if !strings.Contains(failed.output(), `cannot load dataset "blob": `+s.URL+refusal) {
		t.Error("the error is another one")
	}
	name, file, _ := strings.Cut(trust, "=")
	t.Setenv(name, file)
	stdout, stderr, code := failed.command("check", "--json", "--config", "preforkd.toml", "--stats", "off", "--run-dir", "run", "--", "sleep", "1")
	all := stdout + stderr
	if strings.Contains(all, "tok-wrong") || strings.Contains(all, key) || strings.Contains(all, query) {
		t.Errorf("check tells a secret: %s", all)
	}
	if code != 3 || !strings.Contains(stdout, "401 Unauthorized: the given header, token or user was not accepted") {
		t.Errorf("check: exit code %d, %s", code, all)
	}
}

func TestSecretsStayBehindOnARedirectToAnotherHost(t *testing.T) {
	content := noise(t, mib)
	other := newStore(t, content)
	elsewhere := strings.Replace(other.URL, "127.0.0.1", "localhost", 1)
	first := httptest.NewServer(http.RedirectHandler(elsewhere+"/blob.bin", http.StatusFound))
	defer first.Close()
	dir := place(t)
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("tok-secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := readBlob(t, spec{
		dir: dir, flags: []string{"--data-opt", "blob.token-file=token", "--data-opt", "blob.header=X-Api-Key: open"},
	}, first.URL)
	f.haveRead(content, 1)
	seen, _ := other.requests()
	for _, r := range seen {
		if text := fmt.Sprint(r.Header); strings.Contains(text, "tok-secret") || strings.Contains(text, "Api-Key") {
			t.Errorf("the other host was told %s", text)
		}
	}
	f.stop()
}

func TestServersThatRefuseAreNamedWithTheReason(t *testing.T) {
	s := newStore(t, noise(t, mib))
	insecure, _ := newTLSStore(t, noise(t, mib)) // whose authority nobody has named
	toHTTP := httptest.NewUnstartedServer(http.RedirectHandler(s.URL, http.StatusFound))
	toHTTP.StartTLS()
	defer toHTTP.Close()
	trust := []string{trusting(t, toHTTP)}
	closed := freeAddress(t)
	for name, c := range map[string]struct {
		address string
		answers []int
		says    string
		env     []string
	}{
		"not found":    {s.URL + "/blob.bin", []int{404}, `/blob\.bin: 404 Not Found: check the address`, nil},
		"unauthorized": {s.URL + "/blob.bin", []int{401}, `/blob\.bin: 401 Unauthorized: give --data-opt NAME\.token-file=PATH or NAME\.header=…`, nil},
		"expired":      {s.URL + "/blob.bin?X-Amz-Signature=abc", []int{403}, `/blob\.bin: 403 Forbidden: the signed address may have expired`, nil},
		"untrusted":    {insecure.URL + "/blob.bin", nil, `/blob\.bin: .*certificate.*: name the file of its authority in SSL_CERT_FILE`, nil},
		"nobody":       {"http://" + closed + "/blob.bin", nil, `/blob\.bin: .*connection refused.* \(tried 5 times\)`, nil},
		"downgrade":    {toHTTP.URL + "/blob.bin", nil, `/blob\.bin: redirects from https to http://127\.0\.0\.1:\d+, which anybody on the way could change`, trust},
	} {
		t.Run(name, func(t *testing.T) {
			s.set(func() { s.answers = c.answers })
			refusedWith(t, spec{env: c.env, flags: []string{"-d", "x=" + c.address}}, `preforkd: cannot load dataset "x": https?://\S+`+c.says)
			s.set(func() { s.answers = nil })
		})
	}
}

// A server that announces more than there is room for is refused on its word.
func TestADownloadThatCannotFitIsNotBegun(t *testing.T) {
	// What the two ends of a connection buffer was sent, not loaded.
	const buffers = 16 * mib
	endless := func(announced int64) (s *httptest.Server, sent func() int64) {
		count := &store{}
		s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(announced))
			block := make([]byte, mib)
			for err := error(nil); err == nil; {
				_, err = (&counted{w, count, -1}).Write(block)
			}
		}))
		t.Cleanup(s.Close)
		return s, func() int64 {
			s.Close() // when its handlers have ended
			_, n := count.requests()
			return n
		}
	}
	s, sent := endless(1 << 44)
	refusedWith(t, spec{flags: []string{"-d", "x=" + s.URL + "/x.bin"}},
		`cannot load dataset "x": needs 16 TiB, but only \S+ \S+ of memory can be used \(bound by `)
	if n := sent(); n > buffers {
		t.Errorf("%d bytes were sent", n)
	}
	t.Run("in a cgroup", func(t *testing.T) {
		asRoot(t)
		dir := cgrouptest.New(t, limit)
		s, sent := endless(256 * mib)
		refusedWith(t, spec{through: enter(dir), flags: []string{"-d", "x=" + s.URL + "/x.bin"}},
			`cannot load dataset "x": needs 257 MiB, but only \S+ MiB of memory can be used \(bound by the limit of cgroup `)
		if n := sent(); n > buffers {
			t.Errorf("%d bytes were sent", n)
		}
	})
}

// Proxies are those of everybody: HTTP_PROXY, HTTPS_PROXY with CONNECT, NO_PROXY.
func TestProxyVariablesCount(t *testing.T) {
	const host, password = "data.preforkd.example", "pass-9a8b7c6d"
	content := noise(t, 2*mib)
	s := newStore(t, content)
	secure, trust := newTLSStore(t, content, host)
	asked := make(chan string, 100)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, given, ok := (&http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}).BasicAuth()
		if !ok || user != "preforkd" || given != password {
			http.Error(w, "who are you", http.StatusProxyAuthRequired)
			return
		}
		asked <- r.Method + " " + r.Host
		if r.Method != http.MethodConnect {
			s.ServeHTTP(w, r)
			return
		}
		relay(t, w, secure.Listener.Addr().String())
	}))
	defer proxy.Close()
	address, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	address.User = url.UserPassword("preforkd", password)
	clean := []string{"NO_PROXY=", "no_proxy=", "http_proxy=", "https_proxy=", "REQUEST_METHOD="}
	for source, c := range map[string]struct{ variable, ask string }{
		"http://" + host + "/blob.bin":  {"HTTP_PROXY", "GET " + host},
		"https://" + host + "/blob.bin": {"HTTPS_PROXY", "CONNECT " + host + ":443"},
	} {
		t.Run(c.variable, func(t *testing.T) {
			f := readBlob(t, spec{env: append([]string{trust, c.variable + "=" + address.String()}, clean...)}, source)
			f.haveRead(content, 1)
			if got := <-asked; got != c.ask {
				t.Errorf("the proxy was asked for %q, want %q", got, c.ask)
			}
			if strings.Contains(f.output(), password) {
				t.Error("the log tells the proxy's password")
			}
			f.stop()
			// A wrong password is refused by the proxy, and told without it.
			wrong := *address
			wrong.User = url.UserPassword("preforkd", "pass-wrong")
			failed := start(t, spec{
				env: append([]string{trust, c.variable + "=" + wrong.String()}, clean...), flags: []string{"-d", "x=" + source}, command: sleeper,
			})
			failed.exits(3)
			if text := failed.output(); !strings.Contains(text, "407 Proxy Authentication Required") || strings.Contains(text, "pass-wrong") {
				t.Errorf("it said %s", text)
			}
		})
	}
}
