// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// The orders of the control socket, by well-behaved clients and others: what is taken and what is refused.

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/preforkd/preforkd/internal/api/apitest"
	"github.com/preforkd/preforkd/supervisor"
)

// serveControl serves a control socket and returns its path.
func serveControl(t *testing.T, source Source, control Control) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "control.sock")
	l, err := ListenControl(path)
	if err != nil {
		t.Fatal(err)
	}
	startControl(t, source, control, l)
	return path
}

// post sends a body to the control socket at path and returns the status and the whole answer.
func post(t *testing.T, path, verb, body string) (int, string) {
	t.Helper()
	response := postTo(t.Context(), t, path, verb, strings.NewReader(body))
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func postTo(ctx context.Context, t *testing.T, path, verb string, body io.Reader) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://x"+verb, body)
	if err != nil {
		t.Fatal(err)
	}
	response, err := Dial(path).http.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

func TestAnOrderIsTakenAndItsEndIsTheLastLine(t *testing.T) {
	control := &apitest.Control{}
	path := serveControl(t, apitest.NewSource(apitest.Example()), control)
	for _, c := range []struct{ verb, body, taken string }{
		{"/reload", `{"names":["emb","geo"]}`, `reload ["emb" "geo"]`},
		{"/reload", `{"names":[]}`, `reload []`},
		{"/reload", ``, `reload []`},
		{"/reload", " {} \n", `reload []`},
		{"/restart", `{"ids":[0,2]}`, `restart [0 2]`},
		{"/restart", `{}`, `restart []`},
		{"/scale", `{"workers":6}`, `scale 6`},
		{"/scale", `{"workers":0}`, `scale 0`}, // to be refused by who knows the rules
		{"/stop", `{"quick":true}`, `stop true`},
		{"/stop", ``, `stop false`},
	} {
		status, text := post(t, path, c.verb, c.body)
		if taken := control.Taken(); status != 200 || len(taken) != 1 || taken[0] != c.taken {
			t.Errorf("%s %s: %d, taken %q, want %q", c.verb, c.body, status, taken, c.taken)
		}
		lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		last := lines[len(lines)-1]
		if want := `{"done":true,"text":"`; !strings.HasPrefix(last, want) || lines[0] != `{"operation":null}` {
			t.Errorf("%s %s is answered with\n%s", c.verb, c.body, text)
		}
	}
}

func TestAnOrderThatFailsSaysSoWithItsExitCode(t *testing.T) {
	control := &apitest.Control{}
	path := serveControl(t, apitest.NewSource(apitest.Example()), control)
	words := errors.New("cannot replace worker 0: it died before it was ready; its last words:\n<ImportError>")
	for _, c := range []struct {
		err  error
		code supervisor.Kind
	}{
		{&supervisor.Error{Kind: supervisor.KindFleet, Err: words}, 1},
		{&supervisor.Error{Kind: supervisor.KindConfig, Err: words}, 2},
		{fmt.Errorf("%w", &supervisor.Error{Kind: supervisor.KindData, Err: words}), 3},
		{words, 1},
	} {
		control.Answer = func(context.Context) (string, error) { return "", c.err }
		_, text := post(t, path, "/reload", "")
		if want := fmt.Sprintf(`{"done":true,"code":%d,"error":"cannot replace worker 0: `, c.code); !strings.Contains(text, want) {
			t.Errorf("%v is told as %s", c.err, text)
		}
		_, err := Dial(path).Reload(t.Context(), nil, nil)
		if got, ok := errors.AsType[*supervisor.Error](err); !ok || got.Kind != c.code || got.Error() != words.Error() {
			t.Errorf("the client makes %#v of %v", err, c.err)
		}
	}
}

func TestWhatIsNoOrderIsRefusedBeforeAnybodyIsAsked(t *testing.T) {
	control := &apitest.Control{}
	path := serveControl(t, apitest.NewSource(apitest.Example()), control)
	for _, c := range []struct {
		verb, body string
		status     int
		says       string
	}{
		{"/reload", `{"names":`, 400, "unexpected EOF"},
		{"/reload", `names=emb`, 400, "invalid character"},
		{"/reload", `["emb"]`, 400, "cannot unmarshal array"},
		{"/reload", `"emb"`, 400, "cannot unmarshal string"},
		{"/reload", `null`, 400, "its body is null"},
		{"/reload", ` `, 400, "EOF"},
		{"/reload", `{"names":"emb"}`, 400, "names"},
		{"/reload", `{"names":[1]}`, 400, "names"},
		{"/reload", `{"name":["emb"]}`, 400, `unknown field "name"`},
		{"/reload", `{}{}`, 400, "goes on behind"},
		{"/reload", `{} garbage`, 400, "goes on behind"},
		{"/reload", "{}\x00", 400, "goes on behind"},
		{"/restart", `{"ids":["0"]}`, 400, "ids"},
		{"/restart", `{"ids":[0.5]}`, 400, "ids"},
		{"/restart", `{"ids":[99999999999999999999]}`, 400, "ids"},
		{"/scale", ``, 400, `"workers" is missing`},
		{"/scale", `{}`, 400, `"workers" is missing`},
		{"/scale", `{"workers":null}`, 400, `"workers" is missing`},
		{"/scale", `{"workers":"6"}`, 400, "workers"},
		{"/scale", `{"workers":1e400}`, 400, "workers"},
		{"/stop", `{"quick":1}`, 400, "quick"},
		{"/reload", strings.Repeat("[", 60<<10), 400, "exceeded max depth"},
		{"/reload", `{"names":["` + strings.Repeat("x", maxBody) + `"]}`, 413, "longer than 65536 bytes"},
		{"/explode", `{}`, 404, "POST /reload, POST /restart, POST /scale, POST /stop"},
		{"/reload/emb", `{}`, 404, "POST /reload"},
		{"/", ``, 405, ""},
		{"/stats", ``, 405, ""},
	} {
		status, text := post(t, path, c.verb, c.body)
		if status != c.status || !strings.Contains(text, c.says) {
			t.Errorf("%s %.40s: %d %q, want %d with %q", c.verb, c.body, status, text, c.status, c.says)
		}
	}
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		request, err := http.NewRequestWithContext(t.Context(), method, "http://x/reload", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, err := Dial(path).http.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if allow := response.Header.Get("Allow"); response.StatusCode != 405 || allow != "POST" {
			t.Errorf("%s /reload: %s, Allow %q", method, response.Status, allow)
		}
	}
	if taken := control.Taken(); len(taken) > 0 {
		t.Errorf("taken all the same: %q", taken)
	}
}

// spaces is an endless body.
type spaces struct{}

func (spaces) Read(p []byte) (int, error) { return copy(p, bytes.Repeat([]byte(" "), len(p))), nil }

func TestABodyOf10MiBIsNotRead(t *testing.T) {
	const size = 10 << 20
	path := serveControl(t, apitest.NewSource(apitest.Example()), &apitest.Control{})
	for _, head := range []string{"Content-Length: 10485760\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\na00000\r\n"} {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		taken := make(chan int64)
		go func() {
			io.WriteString(conn, "POST /reload HTTP/1.1\r\nHost: x\r\n"+head)
			n, _ := io.CopyN(conn, spaces{}, size) // it is cut off
			taken <- n
		}()
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != 413 {
			t.Errorf("%q: %s", head, response.Status)
		}
		if n := <-taken; n >= size/2 { // the kernel's buffer takes some
			t.Errorf("%q: %d bytes were taken", head, n)
		}
	}
}

func TestABodyThatDoesNotComeIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	control := &apitest.Control{}
	conn, err := net.Dial("unix", serveControl(t, apitest.NewSource(apitest.Example()), control))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(4 * readTimeout))
	io.WriteString(conn, "POST /reload HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{\"names\"")
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != 408 || len(control.Taken()) > 0 {
		t.Errorf("%s", response.Status)
	}
}

func TestAStatsAddressTakesNoOrders(t *testing.T) {
	control := &apitest.Control{}
	l, err := Listen("unix:" + filepath.Join(t.TempDir(), "stats.sock"))
	if err != nil {
		t.Fatal(err)
	}
	startControl(t, apitest.NewSource(apitest.Example()), control, l)
	path := strings.TrimPrefix(l.Address(), "unix:")
	for _, verb := range []string{"/reload", "/restart", "/scale", "/stop"} {
		if status, text := post(t, path, verb, "{}"); status != 404 || strings.Contains(text, "POST") {
			t.Errorf("%s: %d %q", verb, status, text)
		}
	}
	if taken := control.Taken(); len(taken) > 0 {
		t.Errorf("taken all the same: %q", taken)
	}
	if _, err := Dial(path).Stop(t.Context(), false); !errors.Is(err, ErrUnknownOrder) {
		t.Errorf("the client says %v", err)
	}
}
