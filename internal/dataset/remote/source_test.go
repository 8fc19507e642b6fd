// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package remote

// Whole loads: size, validators, digests, statuses, tries.

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestTheContentComesWholeWithItsSizeAndValidator(t *testing.T) {
	v := version{content: noise(3 << 20), tag: `"v1"`, modified: dated(1).modified}
	site := serve(t, v.ServeHTTP)
	s, err := open(t.Context(), site.URL+"/data.bin", Options{}, small())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	want := Validator{ETag: `"v1"`, LastModified: "Fri, 02 Jan 2026 03:04:05 GMT", Size: 3 << 20}
	if s.Size() != 3<<20 || s.Validator() != want {
		t.Errorf("size %d, validator %+v", s.Size(), s.Validator())
	}
	whole(t, site.URL+"/data.bin", Options{}, v.content)
	for _, r := range site.seen() {
		if got := r.Header.Get("Accept-Encoding"); got != "identity" {
			t.Errorf("it accepts the encoding %q", got)
		}
	}
}

func TestASizeThatNobodyAnnouncesIsUnknown(t *testing.T) {
	content := noise(1 << 20)
	site := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(content[:10])
		_ = http.NewResponseController(w).Flush() // hence chunked
		_, _ = w.Write(content[10:])
	})
	s, err := open(t.Context(), site.URL, Options{}, small())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.Size() != -1 || s.Validator() != (Validator{}) {
		t.Errorf("size %d, validator %+v", s.Size(), s.Validator())
	}
	whole(t, site.URL, Options{}, content)
}

func TestNothingIsLoadedAgainThatIsUnchanged(t *testing.T) {
	both := version{content: noise(1000), tag: `"v1"`, modified: dated(1).modified}
	renamed, weak := version{content: noise(1000), tag: `"v2"`}, version{content: noise(1000), tag: `W/"v1"`}
	shorter := version{content: noise(999), tag: `"v1"`}
	later := version{content: noise(1000), modified: dated(1).modified.Add(time.Hour)}
	young := version{content: noise(1000), modified: time.Now().Add(time.Hour)} // as young as can be
	for name, c := range map[string]struct {
		first, then http.HandlerFunc
		unchanged   bool
	}{
		"by its tag":                         {tagged(1000).ServeHTTP, tagged(1000).ServeHTTP, true},
		"by its date":                        {dated(1000).ServeHTTP, dated(1000).ServeHTTP, true},
		"by both":                            {both.ServeHTTP, both.ServeHTTP, true},
		"by a server that ignores the tag":   {tagged(1000).ServeHTTP, tagged(1000).deaf, true},
		"another tag":                        {tagged(1000).ServeHTTP, renamed.ServeHTTP, false},
		"another date":                       {dated(1000).ServeHTTP, later.ServeHTTP, false},
		"a date that is ignored":             {dated(1000).ServeHTTP, dated(1000).deaf, false},
		"another size under the ignored tag": {tagged(1000).ServeHTTP, shorter.deaf, false},
		"a weak tag":                         {weak.ServeHTTP, weak.ServeHTTP, false},
		"a date that is not yet over":        {young.ServeHTTP, young.ServeHTTP, false},
	} {
		t.Run(name, func(t *testing.T) {
			site := serve(t, c.first, c.then)
			s, err := open(t.Context(), site.URL, Options{}, small())
			if err != nil {
				t.Fatal(err)
			}
			s.Close()
			s, err = open(t.Context(), site.URL, Options{Unless: s.Validator()}, small())
			if err == nil {
				s.Close()
			}
			if got := errors.Is(err, ErrUnchanged); got != c.unchanged || err != nil && !got {
				t.Errorf("unchanged: %t, want %t: %v", got, c.unchanged, err)
			}
		})
	}
}

func TestAnAnswerThatNobodyAskedForIsRefused(t *testing.T) {
	for code, words := range map[int][]string{
		204: {"204 No Content", "no answer that holds the data"},
		206: {"206 Partial Content"},
		300: {"300 Multiple Choices"},
		304: {"304 Not Modified"},
		401: {"401 Unauthorized", "NAME.token-file="},
		403: {"403 Forbidden", "NAME.token-file="},
		404: {"404 Not Found", "check the address"},
		407: {"407 Proxy Authentication Required", "HTTP_PROXY"},
		418: {"418 I'm a teapot"},
		501: {"501 Not Implemented"},
		799: {"status 799"},
	} {
		site := serve(t, answer(code))
		refused(t, site.URL, Options{}, words...)
		if n := len(site.seen()); n != 1 && code != 799 {
			t.Errorf("%d was asked for %d times", code, n)
		}
	}
	site := serve(t, answer(403))
	refused(t, site.URL, Options{Headers: []string{"X-Api-Key: abcd"}}, "was not accepted")
	refused(t, site.URL+"/x?X-Amz-Signature=abcd", Options{}, "may have expired")
	refused(t, serve(t, answer(200)).URL, Options{}, "is empty")
}

func TestFailuresThatPassAreTriedAgain(t *testing.T) {
	v := tagged(100_000)
	for _, code := range []int{408, 429, 500, 502, 503, 504} {
		var log logged
		site := serve(t, answer(code), answer(code, "Retry-After", "0"), v.ServeHTTP)
		whole(t, site.URL+"/p?signature=hunter22", Options{Log: log.logger()}, v.content)
		if text := log.String(); strings.Count(text, status(code)) != 2 ||
			!strings.Contains(text, "source="+site.URL+"/p ") || strings.Contains(text, "hunter22") {
			t.Errorf("the log says %q", text)
		}
	}
	for _, broken := range []http.HandlerFunc{
		func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		func(w http.ResponseWriter, r *http.Request) { // the explanation does not end
			answer(503, "Content-Length", "100")(w, r)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
	} {
		whole(t, serve(t, broken, v.ServeHTTP).URL, Options{}, v.content)
	}
}

func TestTriesHaveAnEnd(t *testing.T) {
	site := serve(t, answer(503))
	refused(t, site.URL, Options{}, "503 Service Unavailable (tried 3 times): try again later")
	if n := len(site.seen()); n != 3 {
		t.Errorf("%d requests", n)
	}
	address := site.URL
	site.Close()
	refused(t, address, Options{}, "connection refused (tried 3 times)")
}

func TestRetryAfterIsHonouredAsFarAsTheTimeGoes(t *testing.T) {
	v := tagged(1000)
	site := serve(t, answer(503, "Retry-After", "3600"), v.ServeHTTP)
	var log logged
	whole(t, site.URL, Options{Log: log.logger()}, v.content)
	if !strings.Contains(log.String(), "wait=50ms") {
		t.Errorf("the log says %q", log.String())
	}
	site = serve(t, answer(503, "Retry-After", "3600"))
	refused(t, site.URL, Options{}, "503")
	if n := len(site.seen()); n != 2 {
		t.Errorf("%d requests, want 2: the time for waiting was used up by the first", n)
	}
}

func TestADigestThatTheServerAnnouncesIsChecked(t *testing.T) {
	v := tagged(700_000)
	sum := sha256.Sum256(v.content)
	right := base64.StdEncoding.EncodeToString(sum[:])
	wrong := base64.StdEncoding.EncodeToString(make([]byte, sha256.Size))
	for _, c := range []struct {
		name, value string
		ok          bool
	}{
		{"Repr-Digest", "sha-256=:" + right + ":", true},
		{"Repr-Digest", "sha-512=:AAAA:, sha-256=:" + wrong + ":", false},
		{"Digest", "unixsum=30637,SHA-256=" + right, true},
		{"Digest", "SHA-256=" + wrong, false},
		{"X-Amz-Checksum-Sha256", right, true},
		{"X-Amz-Checksum-Sha256", wrong, false},
		{"X-Amz-Checksum-Sha256", wrong + "-3", true}, // of the digests of three parts
		{"Repr-Digest", "md5=:AAAA:", true},
		{"Digest", "sha-256=!!", true},
	} {
		site := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(c.name, c.value)
			v.cut(300_000)(w, r)
		}, v.ServeHTTP)
		if c.ok {
			whole(t, site.URL, Options{}, v.content)
		} else {
			refused(t, site.URL, Options{}, "SHA-256", "announced 0000000000")
		}
	}
}

func TestACancelledContextEndsEverythingAtOnce(t *testing.T) {
	v := tagged(1000)
	long := small()
	long.waitMin, long.waitMax, long.waitAll = time.Hour, time.Hour, time.Hour
	silent := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for name, handlers := range map[string][]http.HandlerFunc{
		"while it waits for an answer":    {silent},
		"while it waits for another try":  {answer(503)},
		"while nothing comes":             {v.stall(500)},
		"while it waits to resume":        {v.cut(500)},
		"while it skips what it has read": {v.cut(500), v.stall(300)},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			limits := long
			if len(handlers) > 1 {
				limits = small()
			}
			site := serve(t, handlers...)
			ended := make(chan error)
			go func() {
				_, err := load(ctx, site.URL, Options{}, limits)
				ended <- err
			}()
			until(t, "the last of the requests came", func() bool { return len(site.seen()) == len(handlers) })
			cancel()
			select {
			case err := <-ended:
				if !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			case <-time.After(10 * time.Second):
				t.Error("it goes on")
			}
		})
	}
}

func TestAddressesThatCannotBeAskedAreRefused(t *testing.T) {
	for _, address := range []string{
		"", "ftp://host/x", "https://", "https:///path", "http://:80/", "https://h/%zz", "host/x",
	} {
		if CheckURL(address) == nil {
			t.Errorf("%q is allowed", address)
		}
		if _, err := open(t.Context(), address, Options{}, small()); err == nil {
			t.Errorf("%q was opened", address)
		}
	}
	if err := CheckURL("https://user:pass@host:8443/a%20b?c=d#e"); err != nil {
		t.Error(err)
	}
}

func TestAHostThatDoesNotExistIsNotTriedAgain(t *testing.T) {
	text := refused(t, "http://no-such-host.invalid/x?signature=hunter22", Options{}, "no-such-host.invalid")
	if strings.Contains(text, "hunter22") {
		t.Error(text)
	}
}

// until polls for a fact.
func until(t *testing.T, what string, fact func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); !fact(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func python(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	return path
}
