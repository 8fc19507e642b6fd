// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package web_test

// What the dashboard promises without a browser. What it shows is tested in one: test/dashboard_test.go.

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/preforkd/preforkd/internal/api/web"
)

var handler = web.Handler()

// get asks it; header is pairs of names and values.
func get(t *testing.T, path string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r io.Reader) string {
	t.Helper()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// assets lists the addresses of all files.
func assets(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob("assets/*")
	if err != nil || len(names) < 5 {
		t.Fatalf("assets: %v, %v", names, err)
	}
	all := []string{"/"}
	for _, name := range names {
		all = append(all, "/"+filepath.ToSlash(name))
	}
	return all
}

func TestEveryFileIsServedStrictlyAndWhole(t *testing.T) {
	kinds := map[string]string{"": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".LICENSE": "text/plain"}
	for _, path := range assets(t) {
		file := "index.html"
		if path != "/" {
			file = path[1:]
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		plain, packed := get(t, path), get(t, path, "Accept-Encoding", "gzip, br")
		for _, answer := range []*http.Response{plain, packed} {
			h := answer.Header
			if answer.StatusCode != http.StatusOK || h.Get("Etag") == "" || h.Get("Cache-Control") != "no-cache" ||
				!strings.HasPrefix(h.Get("Content-Type"), kinds[filepath.Ext(path)]) {
				t.Errorf("%s: %d, %v", path, answer.StatusCode, h)
			}
			for _, rule := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
				if !strings.Contains(h.Get("Content-Security-Policy"), rule) {
					t.Errorf("%s: policy %q, want %q in it", path, h.Get("Content-Security-Policy"), rule)
				}
			}
		}
		unpacked, err := gzip.NewReader(packed.Body)
		if err != nil {
			t.Fatal(err)
		}
		if body(t, plain.Body) != string(want) || body(t, unpacked) != string(want) {
			t.Errorf("%s is not the file", path)
		}
		if plain.Header.Get("Etag") == packed.Header.Get("Etag") {
			t.Errorf("%s: two bodies have one ETag", path)
		}
	}
}

func TestWhatTheBrowserHasIsNotSentAgain(t *testing.T) {
	for _, encoding := range []string{"", "gzip"} {
		first := get(t, "/assets/app.js", "Accept-Encoding", encoding)
		again := get(t, "/assets/app.js", "Accept-Encoding", encoding, "If-None-Match", first.Header.Get("Etag"))
		if again.StatusCode != http.StatusNotModified || body(t, again.Body) != "" {
			t.Errorf("%q: status %d", encoding, again.StatusCode)
		}
		if got := get(t, "/assets/app.js", "If-None-Match", `"another"`).StatusCode; got != http.StatusOK {
			t.Errorf("another version is there: status %d", got)
		}
	}
}

func TestNothingElseIsThere(t *testing.T) {
	for _, path := range []string{"/index.html", "/assets", "/assets/", "/assets/../web.go", "/web.go", "/assets/none.js", "/favicon.ico"} {
		if got := get(t, path).StatusCode; got != http.StatusNotFound {
			t.Errorf("%s: status %d, want 404", path, got)
		}
	}
}

// The first visit fetches each file once, packed.
func TestThePageIsSmall(t *testing.T) {
	var sent int
	for _, path := range assets(t) {
		sent += len(body(t, get(t, path, "Accept-Encoding", "gzip").Body))
	}
	t.Logf("%d bytes in all", sent)
	if sent > 64<<10 {
		t.Errorf("the page and its files are %d bytes, want less than 64 KiB", sent)
	}
}

func TestThePageNamesOnlyItsOwnFilesAndHasNoInlineCode(t *testing.T) {
	page := body(t, get(t, "/").Body)
	named := regexp.MustCompile(`(?:src|href)="([^"#][^"]*)"`).FindAllStringSubmatch(page, -1)
	if len(named) < 5 {
		t.Fatalf("the page names %v: the test would prove nothing", named)
	}
	for _, m := range named {
		if strings.HasPrefix(m[1], "assets/") {
			if get(t, "/"+m[1]).StatusCode != http.StatusOK {
				t.Errorf("%s is not there", m[1])
			}
		} else if !strings.Contains("stats metrics openapi.json", m[1]) {
			t.Errorf("the page names %s", m[1])
		}
	}
	for _, inline := range []string{`<script>`, `<style`, ` style=`, ` onclick=`, ` onload=`, `javascript:`} {
		if strings.Contains(page, inline) {
			t.Errorf("the page has %s", inline)
		}
	}
	imported := regexp.MustCompile(`from "\./([^"]+)"`)
	for _, path := range assets(t) {
		text := body(t, get(t, path).Body)
		for _, m := range imported.FindAllStringSubmatch(text, -1) {
			if get(t, "/assets/"+m[1]).StatusCode != http.StatusOK {
				t.Errorf("%s imports %s, which is not there", path, m[1])
			}
		}
		if strings.HasPrefix(filepath.Base(path), "uplot") {
			continue
		}
		for _, never := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "http://", "https://"} {
			text = strings.ReplaceAll(text, `xmlns="http://www.w3.org/2000/svg"`, "")
			if strings.Contains(text, never) {
				t.Errorf("%s has %s", path, never)
			}
		}
	}
}
