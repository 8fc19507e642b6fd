// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

// URLs end to end. What the client does with servers that misbehave is tested in package remote.

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/preforkd/preforkd/internal/codec"
	"github.com/preforkd/preforkd/internal/format"
)

// serve serves one content with an ETag; the first answer is cut off after cut bytes, if that is not 0.
func serve(t *testing.T, whole []byte, cut int) (address string, requests *atomic.Int64) {
	t.Helper()
	requests = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"one"`)
		if r.Header.Get("Authorization") != "Bearer letmein" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		if requests.Add(1) == 1 && cut > 0 {
			w.Header().Set("Content-Length", strconv.Itoa(len(whole)))
			_, _ = w.Write(whole[:cut])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(whole))
	}))
	t.Cleanup(server.Close)
	return server.URL + "/data/emb.npy?X-Signature=secret", requests
}

func withToken(t *testing.T, source string) Spec {
	t.Helper()
	return Spec{Name: "emb", Source: source, Options: Options{TokenFile: writeFile(t, "token", []byte("letmein\n"))}}
}

func TestAURLIsLoadedAlsoOverABreak(t *testing.T) {
	leavesNothing(t)
	array := npy(header("'<f4'", "(500000,)"), 2000000)
	gz := packed(t, codec.Gzip, writeFile(t, "emb.npy", array))
	inside, err := os.ReadFile(gz)
	if err != nil {
		t.Fatal(err)
	}
	archive := npz(t, map[string][]byte{"w": npy(header("'<f4'", "(3000,)"), 12000)})
	for name, c := range map[string]struct {
		body []byte
		cut  int
	}{
		"plain": {array, 0}, "plain, broken": {array, 1234567}, "packed": {inside, 0}, "packed, broken": {inside, len(inside) / 2},
		"npz": {archive, 0},
	} {
		address, requests := serve(t, c.body, c.cut)
		var log bytes.Buffer
		var last Progress
		l := &Loader{Log: slog.New(slog.NewTextHandler(&log, nil)), OnProgress: func(_ string, p Progress) { last = p }}
		d := load(t, l, withToken(t, address))[0]
		if name == "npz" {
			mapsAsTheyLie(t, d, map[string][]byte{"w": whole12000})
		} else if !bytes.Equal(content(t, d), array) || d.Format != format.Npy {
			t.Errorf("%s: other content: %+v", name, d)
		}
		size := int64(len(c.body))
		if want := (Progress{Loaded: d.Size(), Size: last.Size, Read: size, Total: size, Codec: d.Codec}); last != want || d.Ext != ".npy" || d.Validator.ETag != `"one"` {
			t.Errorf("%s: %+v, want %+v; %+v", name, last, want, d)
		}
		if broken := c.cut > 0; broken != (requests.Load() == 2) || strings.Contains(log.String(), "secret") || strings.Contains(log.String(), "letmein") {
			t.Errorf("%s: %d requests, log %s", name, requests.Load(), log.String())
		}
		l.Have, last = map[string]*Loaded{"emb": d}, Progress{}
		if again := load(t, l, d.Spec)[0]; !again.Unchanged || again.Segment != nil || again.Validator != d.Validator || again.Size() != d.Size() || last != (Progress{}) {
			t.Errorf("%s: not changed, and loaded: %+v", name, again)
		}
		rotated := withToken(t, address)
		if again := load(t, l, rotated)[0]; !again.Unchanged || last != (Progress{}) || again.Options.TokenFile != rotated.Options.TokenFile {
			t.Errorf("%s: loaded for another token: %+v", name, again)
		}
		other := d.Spec
		other.Options.Headers = []string{"Accept: x"}
		before := requests.Load()
		if again := load(t, l, other)[0]; !again.Unchanged || requests.Load() == before {
			t.Errorf("%s: asked for in another way: %+v", name, again)
		}
	}
}

func TestAURLThatCannotBeLoadedIsRefusedWithoutSecrets(t *testing.T) {
	leavesNothing(t)
	address, _ := serve(t, npy(header("'<f4'", "(5000000,)"), 20000000), 0)
	free, most := machine(t, 10<<20)
	wrong := withToken(t, address)
	wrong.Options.SHA256 = digestOfNothing
	for _, c := range []struct {
		loader *Loader
		spec   Spec
		want   string
	}{
		{&Loader{}, Spec{Name: "emb", Source: address}, "403"},
		{&Loader{}, wrong, "sha256 is "},
		{&Loader{Free: free}, withToken(t, address), "needs 19 MiB, but only 9.5 MiB"},
	} {
		got := refused(t, c.loader, c.spec)
		if !strings.HasPrefix(got, `cannot load dataset "emb": `) || !strings.Contains(got, c.want) ||
			strings.Contains(got, "secret") || strings.Contains(got, "letmein") {
			t.Error(got)
		}
	}
	if most.Load() > 1<<20 {
		t.Errorf("%d bytes were held", most.Load())
	}
}

func TestLookAsksAServer(t *testing.T) {
	leavesNothing(t)
	address, _ := serve(t, noise(12345), 0)
	look, err := withToken(t, address).Look(t.Context())
	if err != nil || look.SourceSize != 12345 || look.Size != -1 || look.Ext != ".npy" {
		t.Errorf("%+v, %v", look, err)
	}
	if _, err := (Spec{Name: "emb", Source: address}).Look(t.Context()); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}

// One server stalls; the other dataset's failure ends the wait.
func TestAFailureEndsTheWaitForAServer(t *testing.T) {
	leavesNothing(t)
	asked := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000000")
		_, _ = w.Write([]byte("some bytes"))
		_ = http.NewResponseController(w).Flush()
		close(asked)
		<-r.Context().Done()
	}))
	defer server.Close()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		<-asked
		w.WriteHeader(http.StatusNotFound)
	}))
	defer other.Close()
	got := refused(t, &Loader{}, Spec{Name: "a", Source: server.URL}, Spec{Name: "b", Source: other.URL})
	if !strings.Contains(got, `cannot load dataset "b"`) || !strings.Contains(got, "404") {
		t.Error(got)
	}
}

// preforkd check has the loader make all its checks and give up: nobody is asked.
func TestACancelledLoadAsksNoServer(t *testing.T) {
	leavesNothing(t)
	address, requests := serve(t, noise(10), 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := (&Loader{}).Load(ctx, []Spec{withToken(t, address)})
	if err == nil || requests.Load() > 0 || !strings.Contains(fmt.Sprint(err), "interrupted") {
		t.Errorf("%v after %d requests", err, requests.Load())
	}
}
