// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// Clients that are not what they should be.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/preforkd/preforkd/internal/api/apitest"
)

// raw sends text as it is and returns the status line, empty when the server hung up without one.
func raw(t *testing.T, address, text string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(conn, text)
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

func TestALoopbackListenerRefusesForeignHostNames(t *testing.T) {
	url := serve(t, apitest.NewSource(apitest.Example()))
	address := strings.TrimPrefix(url, "http://")
	for host, want := range map[string]int{
		"localhost": 200, "LOCALHOST:9797": 200, "127.0.0.1": 200, "127.8.9.10:80": 200, "[::1]": 200, "[::1]:9797": 200,
		address: 200, "::1": 200,
		"evil.example": 403, "evil.example:9797": 403, "localhost.evil.example": 403, "10.0.0.1": 403, "[::2]:9797": 403,
		"127.0.0.1.nip.io": 403, "0.0.0.0": 403, "127.1": 403, "[::ffff:10.0.0.1]": 403,
	} {
		if response, _ := ask(t, "GET", url+"/stats", "Host", host); response.StatusCode != want {
			t.Errorf("Host %q: %s, want %d", host, response.Status, want)
		}
	}
	if got := raw(t, address, "GET /healthz HTTP/1.0\r\n\r\n"); !strings.Contains(got, "200") {
		t.Errorf("HTTP/1.0 without a Host: %q", got)
	}
	if got := raw(t, address, "GET /healthz HTTP/1.1\r\n\r\n"); !strings.Contains(got, "400") {
		t.Errorf("HTTP/1.1 without a Host: %q", got)
	}
}

func TestTheBoundHostNameIsAllowed(t *testing.T) {
	for _, bound := range []string{"stats.internal", "Stats.Internal"} {
		if !hostAllowed("stats.internal:9797", bound) {
			t.Errorf("bound to %s", bound)
		}
	}
	if hostAllowed("stats.internal", "127.0.0.1") {
		t.Error("a name that was not bound is allowed")
	}
}

func TestAListenerForAllInterfacesTakesAnyHost(t *testing.T) {
	l, err := Listen("0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	start(t, apitest.NewSource(apitest.Example()), l)
	_, port, _ := net.SplitHostPort(l.Address())
	response, _ := ask(t, "GET", "http://127.0.0.1:"+port+"/stats", "Host", "node-7.cluster")
	if response.StatusCode != 200 {
		t.Errorf("%s", response.Status)
	}
}

func TestAPageOfAnotherSiteGetsNothing(t *testing.T) {
	source := apitest.NewSource(apitest.Example())
	url := serve(t, source)
	for _, site := range []string{"cross-site", "same-site", "same-origin", "none", ""} {
		want := 200
		if site == "cross-site" {
			want = 403
		}
		for _, r := range rows(source, nil) {
			if r.stream {
				continue
			}
			response, body := ask(t, "GET", url+r.path, "Sec-Fetch-Site", site, "Origin", "https://evil.example")
			if response.StatusCode != want || want == 403 && strings.Contains(body, "schema") {
				t.Errorf("%s %s: %s", site, r.path, response.Status)
			}
			for name := range response.Header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("%s has the header %s", r.path, name)
				}
			}
		}
		if response, _ := ask(t, "GET", url+"/", "Sec-Fetch-Site", site, "Accept", "text/html"); response.StatusCode != 200 {
			t.Errorf("a link to the page from a %s page: %s", site, response.Status)
		}
	}
	for _, request := range []struct{ method, path string }{{"HEAD", "/events"}, {"OPTIONS", "/stats"}} {
		response, _ := ask(t, request.method, url+request.path, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example")
		if response.StatusCode != 403 {
			t.Errorf("another site's %s: %s", request, response.Status)
		}
	}
}

// A name that was made to resolve to this machine is refused whatever the browser says of the page.
func TestARebindingNameIsRefusedOnEveryPath(t *testing.T) {
	source := apitest.NewSource(apitest.Example())
	url := serve(t, source)
	for _, path := range []string{"/", "/assets/app.js", "/stats", "/events", "/history", "/healthz", "/nope"} {
		response, _ := ask(t, "GET", url+path, "Host", "evil.example:9797", "Sec-Fetch-Site", "same-origin")
		if response.StatusCode != 403 {
			t.Errorf("%s: %s", path, response.Status)
		}
	}
}

// net/http answers it by itself unless it is told not to.
func TestTheGuardSeesTheRequestThatHasNoPath(t *testing.T) {
	address := strings.TrimPrefix(serve(t, apitest.NewSource(apitest.Example())), "http://")
	if got := raw(t, address, "OPTIONS * HTTP/1.1\r\nHost: evil.example\r\n\r\n"); !strings.Contains(got, "403") {
		t.Errorf("%q", got)
	}
}

func TestHeadersBeyondTheLimitAreRefused(t *testing.T) {
	address := strings.TrimPrefix(serve(t, apitest.NewSource(apitest.Example())), "http://")
	request := "GET /stats HTTP/1.1\r\nHost: localhost\r\nX-Long: " + strings.Repeat("x", 16<<10) + "\r\n\r\n"
	if got := raw(t, address, request); got != "" && !strings.Contains(got, "431") {
		t.Errorf("16 KiB of headers: %q", got)
	}
	if got := raw(t, address, "\x16\x03\x01\x02\x00\x01\r\n\r\n"); got != "" && !strings.Contains(got, "400") {
		t.Errorf("a TLS client: %q", got)
	}
}

// A connection ends with its answer, so idle clients do not add up.
func TestConnectionsAreNotKeptOpen(t *testing.T) {
	url := serve(t, apitest.NewSource(apitest.Example()))
	if response, _ := ask(t, "GET", url+"/healthz"); !response.Close {
		t.Error("the connection stays open")
	}
}

// Clients that never finish their request hold a bounded number of connections, and those not for long: others wait
// for a free one and get it.
func TestSlowClientsAreBoundedAndCutOff(t *testing.T) {
	t.Parallel()
	url := serve(t, apitest.NewSource(apitest.Example()))
	address := strings.TrimPrefix(url, "http://")
	slow := make([]net.Conn, maxConnections+maxStreams+20)
	for i := range slow {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, "GET /stats HTTP/1.1\r\nHost: local")
		slow[i] = conn
	}
	if response, _ := ask(t, "GET", url+"/healthz"); response.StatusCode != 200 {
		t.Errorf("behind slow clients: %s", response.Status)
	}
	for i, conn := range slow {
		conn.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, err := io.ReadAll(conn); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Fatalf("slow client %d is still connected: %v", i, err)
		}
	}
}

func TestNothingIsAcceptedBeyondTheLimit(t *testing.T) {
	l := &limited{Listener: endless{}, places: make(chan struct{}, 1), done: make(chan struct{})}
	if _, err := l.Accept(); err != nil {
		t.Fatal(err)
	}
	second := make(chan error)
	go func() {
		_, err := l.Accept()
		second <- err
	}()
	l.Close()
	if err := <-second; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the second Accept = %v, want it to wait until Close", err)
	}
}

// endless is a listener that always has a connection.
type endless struct{ net.Listener }

func (endless) Accept() (net.Conn, error) { return nil, nil }
func (endless) Close() error              { return nil }

func TestCloseCutsOffWhatDoesNotEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stats.sock")
	l, err := Listen("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	release, entered := make(chan struct{}), make(chan struct{})
	source := &stuck{Source: apitest.NewSource(apitest.Example()), entered: entered, release: release}
	s := Start(source, nil, slog.New(slog.DiscardHandler), nil, l)
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Close(ctx); err == nil {
		t.Error("Close does not tell that it cut off a request")
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
	if answer, _ := io.ReadAll(conn); len(answer) > 0 {
		t.Errorf("an answer after Close: %q", answer)
	}
	close(release)
	if _, err := net.Dial("unix", path); err == nil {
		t.Error("somebody still listens")
	}
}

// stuck holds a request until it is released.
type stuck struct {
	Source
	entered, release chan struct{}
}

func (s *stuck) Healthy() bool {
	close(s.entered)
	<-s.release
	return true
}

const peerHelper = "PREFORKD_TEST_PEER"

// askAsPeer is a process of another user that asks the control socket and prints what it hears.
func askAsPeer(path string) {
	client := http.Client{Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", path) },
	}}
	for _, ask := range []func() (*http.Response, error){
		func() (*http.Response, error) { return client.Get("http://x/stats") },
		func() (*http.Response, error) { return client.Post("http://x/stop", "application/json", http.NoBody) },
	} {
		response, err := ask()
		if err != nil {
			fmt.Println(err)
			continue
		}
		body, err := io.ReadAll(response.Body)
		fmt.Println(response.Status, string(body), err)
	}
	os.Exit(0)
}

func TestTheControlSocketAnswersItsOwnerAndRootOnly(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	dir := t.TempDir()
	path := filepath.Join(dir, "control.sock")
	l, err := ListenControl(path)
	if err != nil {
		t.Fatal(err)
	}
	control := &apitest.Control{}
	startControl(t, apitest.NewSource(apitest.Example()), control, l)
	if info, err := os.Stat(path); err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("mode %v (%v), want 0600", info.Mode(), err)
	}
	if _, _, err := Dial(path).Stats(t.Context()); err != nil {
		t.Errorf("the owner is refused: %v", err)
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can be another user as well")
	}
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	asNobody := func() string {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = []string{peerHelper + "=" + path}
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	if got := asNobody(); !strings.Contains(got, "permission denied") {
		t.Errorf("mode 0600 lets another user connect: %s", got)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if got := asNobody(); strings.Count(got, "403 Forbidden") != 2 || strings.Contains(got, "supervisor") {
		t.Errorf("another user who could connect hears %s", got)
	}
	if taken := control.Taken(); len(taken) > 0 {
		t.Errorf("the order of another user is taken: %q", taken)
	}
}
