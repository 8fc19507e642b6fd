// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// What the routes answer, over real listeners.

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/preforkd/preforkd/docs"
	"github.com/preforkd/preforkd/internal/api/apitest"
	"github.com/preforkd/preforkd/supervisor"
)

var update = flag.Bool("update", false, "rewrite the golden files and the generated parts of docs/")

func TestMain(m *testing.M) {
	if path := os.Getenv(peerHelper); path != "" {
		askAsPeer(path)
	}
	goleak.VerifyTestMain(m)
}

// serve starts a server on a free loopback port and returns its base URL.
func serve(t *testing.T, source Source) string {
	t.Helper()
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	start(t, source, l)
	return "http://" + l.Address()
}

func start(t *testing.T, source Source, listeners ...*Listener) *Server {
	t.Helper()
	return startControl(t, source, nil, listeners...)
}

func startControl(t *testing.T, source Source, control Control, listeners ...*Listener) *Server {
	t.Helper()
	s := Start(source, control, slog.New(slog.DiscardHandler), listeners...)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Errorf("Close = %v", err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return s
}

// rows is the table as Start makes it, with events that nobody feeds.
func rows(source Source, control Control) []route {
	log := slog.New(slog.DiscardHandler)
	return routes(source, control, log, newHub(source, log), &history{})
}

// ask sends a request and returns the answer with its body.
func ask(t *testing.T, method, url string, header ...string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			request.Host = header[i+1]
		}
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

// golden compares got with a file, or rewrites it with -update.
func golden(t *testing.T, path string, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update rewrites it):\n%s", path, diff)
	}
}

func TestStatsIsTheWholeSnapshotAsJSON(t *testing.T) {
	source := apitest.NewSource(apitest.Rich())
	response, body := ask(t, "GET", serve(t, source)+"/stats")
	if response.StatusCode != 200 || response.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s, %s", response.Status, response.Header.Get("Content-Type"))
	}
	golden(t, "testdata/stats.json", body)
	var back supervisor.Snapshot
	decoder := json.NewDecoder(strings.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(apitest.Rich(), &back); diff != "" {
		t.Errorf("lost on the way (-sent +received):\n%s", diff)
	}
}

func TestHealthAndReadinessFollowTheSource(t *testing.T) {
	source := apitest.NewSource(apitest.Example())
	url := serve(t, source)
	check := func(path string, status int, text string) {
		t.Helper()
		if response, body := ask(t, "GET", url+path); response.StatusCode != status || !strings.Contains(body, text) {
			t.Errorf("%s: %s %q, want %d with %q", path, response.Status, body, status, text)
		}
	}
	check("/healthz", 200, "ok")
	check("/readyz", 200, "ready")
	source.Unhealthy.Store(true)
	source.Unready.Store(true)
	check("/healthz", 503, "5 seconds")
	check("/readyz", 503, "the fleet is running")
	source.View.Store(nil)
	check("/readyz", 503, "no worker is ready")
	check("/stats", 503, "starting")
	check("/metrics", 200, "")
}

func TestEveryRouteIsOnTheIndexAndNothingElseIsServed(t *testing.T) {
	source := apitest.NewSource(apitest.Example())
	url := serve(t, source)
	_, index := ask(t, "GET", url+"/")
	paths := []string{"/"}
	for _, r := range rows(source, nil) {
		paths = append(paths, r.path)
		if !strings.Contains(index, r.path+" ") {
			t.Errorf("the index does not name %s:\n%s", r.path, index)
		}
	}
	for _, path := range paths {
		method := "GET"
		if path == "/events" {
			method = "HEAD" // a GET has no end
		}
		response, body := ask(t, method, url+path)
		if response.StatusCode != 200 || body == "" && method == "GET" {
			t.Errorf("%s: %s", path, response.Status)
		}
		for name, want := range map[string]string{
			"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin",
			"Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY", "Access-Control-Allow-Origin": "",
		} {
			if got := response.Header.Get(name); got != want {
				t.Errorf("%s has the header %s: %q, want %q", path, name, got, want)
			}
		}
		if response, body := ask(t, "HEAD", url+path); response.StatusCode != 200 || body != "" {
			t.Errorf("HEAD %s: %s %q", path, response.Status, body)
		}
		for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "NONSENSE"} {
			response, _ := ask(t, method, url+path)
			if allow := response.Header.Get("Allow"); response.StatusCode != 405 || allow != "GET, HEAD" {
				t.Errorf("%s %s: %s, Allow %q", method, path, response.Status, allow)
			}
		}
	}
	for _, path := range []string{"/nope", "/stats/", "/stats/x", "/debug/pprof/", "/..%2fetc"} {
		response, body := ask(t, "GET", url+path)
		if response.StatusCode != 404 || !strings.Contains(body, "only GET /stats, GET /metrics, ") {
			t.Errorf("%s: %s %q", path, response.Status, body)
		}
	}
}

func TestABrowserGetsTheDashboardAndOthersTheIndex(t *testing.T) {
	url := serve(t, apitest.NewSource(apitest.Example()))
	response, body := ask(t, "GET", url+"/", "Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	kind := response.Header.Get("Content-Type")
	if kind != "text/html; charset=utf-8" || !strings.Contains(body, "<html") {
		t.Errorf("a browser gets %s:\n%.200s", kind, body)
	}
	if policy := response.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") {
		t.Errorf("the policy is %q", policy)
	}
	files := regexp.MustCompile(`"(/?assets/[^"]+)"`).FindAllStringSubmatch(body, -1)
	if len(files) == 0 {
		t.Error("the page has no files")
	}
	for _, m := range files {
		asset, text := ask(t, "GET", url+"/"+strings.TrimPrefix(m[1], "/"))
		if asset.StatusCode != 200 || text == "" || asset.Header.Get("Cache-Control") != "no-cache" {
			t.Errorf("%s: %s, %q", m[1], asset.Status, asset.Header)
		}
	}
	for _, accept := range []string{"", "*/*", "application/json"} {
		response, body := ask(t, "GET", url+"/", "Accept", accept)
		if !strings.HasPrefix(body, "preforkd\n") || response.Header.Get("Vary") != "Accept" {
			t.Errorf("Accept %q gets %.40q, Vary %q", accept, body, response.Header.Get("Vary"))
		}
	}
	if response, _ := ask(t, "GET", url+"/assets/nope.js"); response.StatusCode != 404 {
		t.Errorf("a file that is not there: %s", response.Status)
	}
	if response, _ := ask(t, "POST", url+"/assets/app.js"); response.StatusCode != 405 {
		t.Errorf("POST to a file: %s", response.Status)
	}
}

func TestTheDescriptionForProgramsIsServed(t *testing.T) {
	response, body := ask(t, "GET", serve(t, apitest.NewSource(nil))+"/openapi.json")
	if response.Header.Get("Content-Type") != "application/json" || body != string(docs.OpenAPI()) {
		t.Errorf("%s: %.80q", response.Header.Get("Content-Type"), body)
	}
}

func TestManyClientsReadWhileSnapshotsChange(t *testing.T) {
	views := []*supervisor.Snapshot{apitest.Example(), apitest.Rich(), apitest.Loading()}
	source := apitest.NewSource(views[0])
	url := serve(t, source)
	path := filepath.Join(t.TempDir(), "control.sock")
	control, err := ListenControl(path)
	if err != nil {
		t.Fatal(err)
	}
	start(t, source, control)
	var clients sync.WaitGroup
	for _, route := range []string{"/stats", "/metrics", "/readyz", "/"} {
		for range 2 {
			clients.Go(func() {
				for range 25 {
					if response, body := ask(t, "GET", url+route); response.StatusCode != 200 || body == "" {
						t.Errorf("%s: %s", route, response.Status)
					}
				}
			})
		}
	}
	clients.Go(func() {
		for range 25 {
			got, raw, err := Dial(path).Stats(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			if !bytes.Contains(raw, []byte(got.Supervisor.State)) {
				t.Errorf("raw and decoded differ")
			}
		}
	})
	done := make(chan struct{})
	go func() { clients.Wait(); close(done) }()
	for i := 0; ; i++ {
		select {
		case <-done:
			return
		default:
			source.View.Store(views[i%len(views)])
		}
	}
}
