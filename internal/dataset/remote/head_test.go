// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package remote

// The size of content that is not loaded.

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestHeadTellsTheSize(t *testing.T) {
	v := tagged(12345)
	noHead := func(code int, then http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				w.WriteHeader(code)
				return
			}
			then(w, r)
		}
	}
	streamed := func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush()
		_, _ = w.Write(v.content)
	}
	for name, c := range map[string]struct {
		handler  http.HandlerFunc
		size     int64
		requests int
	}{
		"by HEAD":                  {v.ServeHTTP, 12345, 1},
		"signed for GET":           {noHead(403, v.ServeHTTP), 12345, 2},
		"no HEAD":                  {noHead(405, v.ServeHTTP), 12345, 2},
		"no ranges either":         {noHead(501, v.deaf), 12345, 2},
		"nobody knows":             {streamed, -1, 2},
		"HEAD says nothing of it":  {noHead(200, v.ServeHTTP), 12345, 2},
		"a total that is a star":   {noHead(403, answer(206, "Content-Range", "bytes 0-0/*")), -1, 2},
		"a HEAD that will be less": {noHead(503, v.ServeHTTP), 12345, 2},
	} {
		t.Run(name, func(t *testing.T) {
			site := serve(t, c.handler)
			size, err := head(t.Context(), site.URL, Options{Headers: []string{"X-Key: abcd"}}, small())
			if size != c.size || err != nil || len(site.seen()) != c.requests {
				t.Errorf("size %d by %d requests: %v", size, len(site.seen()), err)
			}
			for _, r := range site.seen() {
				if r.Header.Get("X-Key") != "abcd" {
					t.Errorf("%s without the header", r.Method)
				}
			}
		})
	}
}

func TestHeadSaysWhatIsWrong(t *testing.T) {
	silent := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	l := small()
	l.look = 100 * time.Millisecond
	if _, err := head(t.Context(), serve(t, silent).URL, Options{}, l); err == nil ||
		err.Error() != "gave no answer within 100ms" {
		t.Error(err)
	}
	for want, handler := range map[string]http.HandlerFunc{
		"404 Not Found: check the address":             http.NotFound,
		"503 Service Unavailable: try again later":     answer(503),
		"401 Unauthorized: give":                       answer(401),
		"is empty":                                     version{tag: `"v1"`}.ServeHTTP,
		"its Content-Range cannot be read":             answer(206),
		"redirects more than 10 times":                 http.RedirectHandler("/", http.StatusFound).ServeHTTP,
		"redirects to an address that is neither http": answer(302, "Location", "ftp://h/"),
	} {
		if _, err := head(t.Context(), serve(t, handler).URL, Options{}, small()); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := head(ctx, serve(t, silent).URL, Options{}, small()); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func FuzzContentRange(f *testing.F) {
	for _, text := range []string{
		"bytes 0-0/1", "bytes 5-9/*", "bytes */10", "bytes */*", "bytes 9-5/10", "bytes 0-10/10",
		"bytes -1-2/3", "items 0-1/2", "bytes 0-1", "bytes 99999999999999999999-1/1", "",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		first, total, err := contentRange(text)
		switch {
		case err != nil && (first != 0 || total != 0):
			t.Errorf("%q: %d, %d beside an error", text, first, total)
		case err == nil && (first < -1 || total < -1 || total >= 0 && first >= total):
			t.Errorf("%q: from %d of %d", text, first, total)
		}
	})
}
