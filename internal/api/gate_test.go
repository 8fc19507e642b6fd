// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// Who has a password, and what it costs to have none.

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/preforkd/preforkd/internal/api/apitest"
)

// hash makes a cheap one.
func hash(t testing.TB, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

// put writes a file that replaces the one at path in one step, as editors and kubelets do.
func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// htpasswd writes a password file: ann has the password red, bob blue.
func htpasswd(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users")
	blue := strings.Replace(hash(t, "blue"), "$2a$", "$2y$", 1) // as htpasswd writes it
	put(t, path, "# who may read\n\nann:"+hash(t, "red")+"\r\nbob:"+blue+"\n")
	return path
}

// guarded serves with passwords and returns the base URL and what guards it.
func guarded(t *testing.T, auth string, log *slog.Logger) (string, *gate) {
	t.Helper()
	l, err := ListenSecure("127.0.0.1:0", Security{Auth: auth})
	if err != nil {
		t.Fatal(err)
	}
	g := l.secrets.gate
	s := Start(apitest.NewSource(apitest.Example()), nil, log, l)
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		if err := s.Close(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	return "http://" + l.Address(), g
}

// status asks as a user.
func status(t *testing.T, url, name, password string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.SetBasicAuth(name, password)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

func TestOnlyWhoHasAPasswordIsAnswered(t *testing.T) {
	url, _ := guarded(t, htpasswd(t), slog.New(slog.DiscardHandler))
	for _, user := range []struct {
		name, password string
		want           int
	}{
		{"ann", "red", 200},
		{"bob", "blue", 200},
		{"ann", "red", 200},
		{"ann", "blue", 401},
		{"ann", "", 401},
		{"ann", "red ", 401},
		{"Ann", "red", 401},
		{"", "red", 401},
		{"bob", "red", 401},
		{"eve", "red", 401},
		{"eve", "blue", 401},
		{"# who may read", "red", 401},
	} {
		for range 2 {
			if got := status(t, url+"/stats", user.name, user.password); got != user.want {
				t.Errorf("%s with %q: %d, want %d", user.name, user.password, got, user.want)
			}
		}
	}
	for path, want := range map[string]int{
		"/": 401, "/stats": 401, "/metrics": 401, "/history": 401, "/events": 401, "/openapi.json": 401,
		"/assets/app.js": 401, "/nope": 401,
		"/healthz/": 401, "//healthz": 401, "/healthz": 200, "/readyz": 200,
	} {
		response, _ := ask(t, "GET", url+path)
		if response.StatusCode != want {
			t.Errorf("%s without a password: %s, want %d", path, response.Status, want)
		}
		challenge := response.Header.Get("WWW-Authenticate")
		if want == 401 && !strings.HasPrefix(challenge, `Basic realm="preforkd"`) {
			t.Errorf("%s: %q", path, challenge)
		}
	}
	for _, header := range []string{"Bearer x", "Basic", "Basic ???", "Basic YW5u"} {
		if response, _ := ask(t, "GET", url+"/stats", "Authorization", header); response.StatusCode != 401 {
			t.Errorf("Authorization %q: %s", header, response.Status)
		}
	}
}

// counting counts the checks of a gate, and how many run at once.
type counting struct{ all, running, most atomic.Int64 }

func (c *counting) watch(g *gate) {
	compare := g.compare
	g.compare = func(hash, password []byte) error {
		c.all.Add(1)
		c.most.Store(max(c.most.Load(), c.running.Add(1)))
		defer c.running.Add(-1)
		return compare(hash, password)
	}
}

func newTestGate(t *testing.T) (*gate, *counting) {
	t.Helper()
	path := htpasswd(t)
	table, err := watch("users", func() (*users, error) { return readUsers(path) }, path)
	if err != nil {
		t.Fatal(err)
	}
	g, c := newGate(table), &counting{}
	c.watch(g)
	return g, c
}

func TestAPasswordThatWasRightIsCheckedOnce(t *testing.T) {
	g, checks := newTestGate(t)
	for range 100 {
		if right, _ := g.check(t.Context(), "ann", "red"); !right {
			t.Fatal("refused")
		}
	}
	if n := checks.all.Load(); n != 1 {
		t.Errorf("%d checks for one password", n)
	}
	if right, checked := g.check(t.Context(), "ann", "blue"); right || !checked {
		t.Error("another password is taken")
	}
	if right, _ := g.check(t.Context(), "ann", "red"); !right || checks.all.Load() != 2 {
		t.Errorf("a wrong one made the right one forgotten, %d checks", checks.all.Load())
	}
	for name, d := range g.users.get().right {
		if strings.Contains(string(d[:]), "red") || name != "ann" {
			t.Errorf("%s: %x is remembered", name, d)
		}
	}
}

func TestAnUnknownUserCostsAsMuchAsAKnownOne(t *testing.T) {
	g, checks := newTestGate(t)
	// The password of whoever's hash stands in, checked and remembered, must open nothing and save nothing.
	for _, name := range []string{"ann", "bob"} {
		g.check(t.Context(), name, map[string]string{"ann": "red", "bob": "blue"}[name])
	}
	for i, password := range []string{"x", "red", "blue", "red", "blue"} {
		before := checks.all.Load()
		for _, name := range []string{"eve", "mallory", "trent", ""} {
			if right, checked := g.check(t.Context(), name, password); right || !checked {
				t.Errorf("%d: %s is let in with %q, or not checked", i, name, password)
			}
		}
		if n := checks.all.Load() - before; n != 4 {
			t.Errorf("%d checks for four unknown users", n)
		}
	}
	first, _ := g.users.get().find(g.key, "eve")
	for range 10 {
		if again, known := g.users.get().find(g.key, "eve"); again != first || known {
			t.Error("an unknown user is told by hashes that change")
		}
	}
}

func TestAFloodOfGuessesCostsOneCoreAndHoldsUpNobodyWhoWasLetIn(t *testing.T) {
	g, checks := newTestGate(t)
	if right, _ := g.check(t.Context(), "ann", "red"); !right {
		t.Fatal("refused")
	}
	begun, release := make(chan struct{}, 100), make(chan struct{})
	compare := g.compare
	g.compare = func(hash, password []byte) error {
		begun <- struct{}{}
		<-release
		return compare(hash, password)
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.refuse(w, r) {
			w.WriteHeader(http.StatusOK)
		}
	})
	server := httptest.NewServer(handler)
	defer server.Close()
	const guesses = 60
	answers := make(chan int, guesses)
	var flood sync.WaitGroup
	for range guesses {
		flood.Go(func() { answers <- status(t, server.URL, "bob", "guess") })
	}
	within(t, "the first check", begun)
	for range guesses - maxChecks { // all but those that wait
		if got := <-answers; got != 429 {
			t.Errorf("beyond those that wait: %d", got)
		}
	}
	if got := status(t, server.URL, "ann", "red"); got != 200 {
		t.Errorf("who was let in before: %d", got)
	}
	close(release)
	flood.Wait()
	for range maxChecks {
		if got := <-answers; got != 401 {
			t.Errorf("of those that waited: %d", got)
		}
	}
	if most := checks.most.Load(); most != 1 {
		t.Errorf("%d checks at once", most)
	}
	if got := status(t, server.URL, "bob", "blue"); got != 200 {
		t.Errorf("behind the flood: %d", got)
	}
}

func TestAWaitingGuessEndsWithItsClient(t *testing.T) {
	g, checks := newTestGate(t)
	g.turn <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, checked := g.check(ctx, "ann", "red"); checked || checks.all.Load() != 0 || len(g.places) != 0 {
		t.Error("it is checked all the same, or keeps its place")
	}
}

func TestChangedUsersCountWithoutARestart(t *testing.T) {
	t.Parallel()
	var out syncBuffer
	path := htpasswd(t)
	url, _ := guarded(t, path, slog.New(slog.NewTextHandler(&out, nil)))
	if got := status(t, url+"/stats", "ann", "red"); got != 200 {
		t.Fatalf("ann: %d", got)
	}
	put(t, path, "ann:"+hash(t, "green")+"\n")
	eventually(t, "the old password counts no more", func() bool { return status(t, url+"/stats", "ann", "red") == 401 })
	if got := status(t, url+"/stats", "ann", "green"); got != 200 {
		t.Errorf("the new password: %d", got)
	}
	put(t, path, "ann:secret in plain text\n")
	eventually(t, "the broken file is logged", func() bool {
		if got := status(t, url+"/stats", "ann", "green"); got != 200 {
			t.Fatalf("with a broken file: %d", got)
		}
		return strings.Contains(out.String(), "level=ERROR")
	})
	if text := out.String(); !strings.Contains(text, path+", line 1:") || strings.Contains(text, "secret") {
		t.Errorf("logged:\n%s", text)
	}
	put(t, path, "bob:"+hash(t, "blue")+"\n")
	eventually(t, "the mended file counts", func() bool { return status(t, url+"/stats", "bob", "blue") == 200 })
	if n := strings.Count(out.String(), "level=ERROR"); n != 1 {
		t.Errorf("%d errors logged:\n%s", n, out.String())
	}
}

func TestWhatIsWrongWithAPasswordFileIsToldByLine(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "users")
	good := "ann:" + hash(t, "red") + "\n"
	for text, want := range map[string]string{
		"":                                       path + ": there is no user in it",
		"# nobody\n\n":                           path + ": there is no user in it",
		good + "hunter2\n":                       path + ", line 2: the line is not NAME:HASH",
		good + "\n:" + hash(t, "x"):              path + ", line 3: the line is not NAME:HASH",
		good + good:                              path + `, line 2: the user "ann" is there twice`,
		"bob:hunter2\n":                          path + `, line 1: the hash of "bob" is not one of bcrypt`,
		"bob:$apr1$x$hunter2\n":                  path + `, line 1: the hash of "bob" is not one of bcrypt`,
		"bob:{SHA}hunter2\n":                     path + `, line 1: the hash of "bob" is not one of bcrypt`,
		"bob:" + good[4:40] + "\n":               path + `, line 1: the hash of "bob" is damaged: one of bcrypt is $2y$, two digits`,
		strings.TrimSpace(good) + "hunter2\n":    path + `, line 1: the hash of "ann" is damaged`,
		"bob:$2y$10$\n":                          path + `, line 1: the hash of "bob" is damaged`,
		"bob:$2y$hunter2\n":                      path + `, line 1: the hash of "bob" is damaged`,
		strings.Replace(good, "$04$", "$31$", 1): path + `, line 1: the hash of "ann" has a cost that is not between`,
		strings.Replace(good, "$04$", "$03$", 1): path + `, line 1: the hash of "ann" has a cost that is not between`,
	} {
		put(t, path, text)
		err := Security{Auth: path}.Check()
		if err == nil || !strings.HasPrefix(err.Error(), "cannot use the password file "+want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the password is shown: %v", err)
		}
	}
	put(t, path, good)
	if err := (Security{Auth: path}).Check(); err != nil {
		t.Error(err)
	}
}

func FuzzUsers(f *testing.F) {
	good := hash(f, "red")
	for _, seed := range []string{
		"", "a:" + good, "# x\n\na:" + good + "\r\nb:" + good, "a:" + good + ":x", "a:$2b$99$" + good[7:], ":", "\x00:\x00",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := parseUsers("users", text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "cannot use the password file users") {
				t.Errorf("%v", err)
			}
			return
		}
		if len(u.names) == 0 || len(u.names) != len(u.hashes) {
			t.Errorf("%d names, %d hashes", len(u.names), len(u.hashes))
		}
		for name, hash := range u.hashes {
			// What was taken can be checked against; at a low cost this is quick enough to do.
			cost, err := bcrypt.Cost([]byte(hash))
			if err != nil || cost > maxCost || name == "" {
				t.Errorf("%q: %q: %v", name, hash, err)
			}
			if cost > bcrypt.MinCost {
				continue
			}
			err = bcrypt.CompareHashAndPassword([]byte(hash), []byte("x"))
			if err != nil && !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
				t.Errorf("%q: %v", hash, err)
			}
		}
	})
}

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(text)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
