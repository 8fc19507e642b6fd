// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package remote

// Who gets the headers and the token, and what is never shown.

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTheAddresssHostGetsHeadersTokenAndUser(t *testing.T) {
	v := tagged(100_000)
	site := serve(t, v.cut(1000), v.ServeHTTP)
	o := Options{Headers: []string{"x-api-key:  k1 ", "X-Api-Key: k2"}, TokenFile: tokenFile(t, " hunter22\n")}
	whole(t, site.URL, o, v.content)
	for _, r := range site.seen() {
		if got := r.Header.Values("X-Api-Key"); len(got) != 2 || got[0] != "k1" || got[1] != "k2" {
			t.Errorf("key %q", got)
		}
		if got := r.Header.Get("Authorization"); got != "Bearer hunter22" {
			t.Errorf("authorization %q", got)
		}
	}
	site = serve(t, v.ServeHTTP)
	whole(t, strings.Replace(site.URL, "://", "://us%40er:pa%3Ass@", 1), Options{}, v.content)
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte("us@er:pa:ss"))
	if got := site.seen()[0].Header.Get("Authorization"); got != want {
		t.Errorf("authorization %q", got)
	}
}

func TestTheTokenIsReadAtEveryRequest(t *testing.T) {
	v := tagged(1000)
	file := tokenFile(t, "first")
	rotate := func(w http.ResponseWriter, r *http.Request) {
		if err := os.WriteFile(file, []byte("second"), 0o600); err != nil {
			t.Error(err)
		}
		v.cut(500)(w, r)
	}
	site := serve(t, rotate, v.ServeHTTP)
	whole(t, site.URL, Options{TokenFile: file}, v.content)
	for i, want := range []string{"Bearer first", "Bearer second"} {
		if got := site.seen()[i].Header.Get("Authorization"); got != want {
			t.Errorf("request %d: %q", i, got)
		}
	}
}

func TestATokenFileThatHoldsNoTokenIsRefused(t *testing.T) {
	site := serve(t, tagged(10).ServeHTTP)
	for content, want := range map[string]string{
		"":                            "is empty",
		" \n":                         "is empty",
		"hunter22\nhunter23":          "more than one line",
		"hunter22\r\nx":               "more than one line",
		"hunter22\x00":                "control character",
		strings.Repeat("x", 64<<10+1): "larger than 64 KiB",
	} {
		text := refused(t, site.URL, Options{TokenFile: tokenFile(t, content)}, "token file /", want)
		if strings.Contains(text, "hunter") {
			t.Error(text)
		}
	}
	refused(t, site.URL, Options{TokenFile: "/nowhere/token"}, "token file /nowhere/token: no such file or directory")
	refused(t, site.URL, Options{TokenFile: t.TempDir()}, "is a directory")
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, os.DevNull} { // without a writer
		refused(t, site.URL, Options{TokenFile: path}, "token file "+path+": is no regular file")
	}
	if n := len(site.seen()); n != 0 {
		t.Errorf("%d requests were made", n)
	}
}

func TestHeadersThatAreNoneOrNotTheUsersAreRefused(t *testing.T) {
	for line, want := range map[string]string{
		"hunter22":                "Name: value",
		": hunter22":              "Name: value",
		"a b: hunter22":           "Name: value",
		"a\xff: hunter22":         "Name: value",
		"X-Key: hunter22\r\nY: z": "control character",
		"range: hunter22":         "preforkd sets it itself",
		"HOST: hunter22":          "preforkd sets it itself",
	} {
		err := CheckHeader(line)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter") {
			t.Errorf("%q: %v", line, err)
		}
		if _, err := open(t.Context(), "http://127.0.0.1:1", Options{Headers: []string{line}}, small()); err == nil {
			t.Errorf("%q was sent", line)
		}
	}
	for _, o := range []Options{
		{Headers: []string{"Authorization: a"}, TokenFile: "x"},
		{Headers: []string{"Authorization: a", "authorization: b"}},
	} {
		if _, err := open(t.Context(), "http://127.0.0.1:1", o, small()); err == nil ||
			!strings.Contains(err.Error(), "more than one authorization") {
			t.Error(err)
		}
	}
}

func TestARedirectToAnotherHostGetsNoSecrets(t *testing.T) {
	v := tagged(1000)
	other := serve(t, v.ServeHTTP)
	site := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+"/y", http.StatusFound)
	})
	address := strings.Replace(site.URL, "://", "://user:hunter22@", 1) + "/x?signature=hunter23"
	for _, a := range []string{address, site.URL + "/x?signature=hunter23"} {
		whole(t, a, Options{Headers: []string{"X-Key: hunter24", "Cookie: a=hunter25"}}, v.content)
	}
	whole(t, site.URL, Options{TokenFile: tokenFile(t, "hunter26")}, v.content)
	for _, r := range other.seen() {
		if text := fmt.Sprint(r.Header, r.URL); strings.Contains(text, "hunter") {
			t.Errorf("it got %s", text)
		}
	}
	if n := len(other.seen()); n != 3 {
		t.Errorf("%d requests came", n)
	}
	denied := serve(t, answer(401))
	site = serve(t, http.RedirectHandler(denied.URL, http.StatusTemporaryRedirect).ServeHTTP)
	refused(t, site.URL, Options{Headers: []string{"X-Key: hunter24"}}, "401 Unauthorized from 127.0.0.1:",
		"not sent on to another host")
}

// The other host chose the request: it must not be made with our token.
func TestSecretsDoNotComeBackWithARedirectThere(t *testing.T) {
	v := tagged(1000)
	var back string
	other := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, back+"/third", http.StatusFound)
	})
	site := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/second", http.StatusFound)
	}, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusFound)
	}, v.ServeHTTP)
	back = site.URL
	whole(t, site.URL+"/first", Options{Headers: []string{"X-Key: hunter24"}}, v.content)
	for i, want := range []string{"hunter24", "hunter24", ""} {
		if got := site.seen()[i].Header.Get("X-Key"); got != want {
			t.Errorf("request %d carries %q, want %q", i, got, want)
		}
	}
}

func TestRedirectsHaveAnEnd(t *testing.T) {
	v := tagged(1000)
	on := func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/x", http.StatusFound) }
	site := serve(t, on, on, on, on, on, on, on, on, on, on, v.ServeHTTP)
	whole(t, site.URL, Options{}, v.content)
	site = serve(t, on)
	refused(t, site.URL, Options{}, "redirects more than 10 times")
	if n := len(site.seen()); n != 11 {
		t.Errorf("%d requests", n)
	}
	for _, to := range []string{"ftp://127.0.0.1/hunter", "file:///etc/passwd", "http://127.0.0.1:bad/?hunter22"} {
		text := refused(t, serve(t, answer(302, "Location", to)).URL, Options{}, "redirects to an address")
		if strings.Contains(text, "hunter") {
			t.Error(text)
		}
	}
}

// A server may repeat what it was sent wherever it likes.
func TestNoMessageHoldsASecret(t *testing.T) {
	const query = "X-Amz-Signature=hunter22&k=hunter23"
	echo := func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "%s %s %s https://a:hunter26@b/?hunter27\r\n", r.Header.Get("X-Key"), r.URL.RawQuery,
			r.Header.Get("Authorization"))
	}
	v := tagged(1000)
	var closed string
	{
		s := serve(t, v.ServeHTTP)
		closed = s.URL
		s.Close()
	}
	var log logged
	for name, c := range map[string]struct{ url string }{
		"echo":      {serve(t, echo).URL},
		"status":    {serve(t, answer(403)).URL},
		"passing":   {serve(t, answer(503)).URL},
		"refused":   {closed},
		"broken":    {serve(t, v.cut(500), echo).URL},
		"changed":   {serve(t, v.cut(500), answer(412)).URL},
		"redirect":  {serve(t, answer(302, "Location", closed+"/?hunter28")).URL},
		"scheme":    {serve(t, answer(302, "Location", "ftp://a:hunter26@b/?hunter27")).URL},
		"no scheme": {strings.Replace(closed, "http:", "gopher:", 1)},
	} {
		address := strings.Replace(c.url, "://", "://user:hunter25@", 1) + "/p?" + query
		text := refused(t, address, Options{Headers: []string{"X-Key: hunter24"}, Log: log.logger()})
		if strings.Contains(text, "hunter") || strings.Contains(text, "user") && !strings.Contains(text, "or user") {
			t.Errorf("%s: %s", name, text)
		}
	}
	if strings.Contains(log.String(), "hunter") || !strings.Contains(log.String(), "malformed HTTP") {
		t.Errorf("the log says %s", log.String())
	}
}

func tokenFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
