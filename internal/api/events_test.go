// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// What listeners of /events hear, over real connections.

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/preforkd/preforkd/internal/api/apitest"
	"github.com/preforkd/preforkd/supervisor"
)

// said is one server-sent event.
type said struct {
	kind, id, data, retry string
}

// ear reads a stream as a browser does.
type ear struct {
	t     *testing.T
	lines *bufio.Scanner
	leave context.CancelFunc
}

// hark opens a stream. It fails the test when nothing comes for 20 seconds.
func hark(t *testing.T, client *http.Client, url string, header ...string) *ear {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if kind := response.Header.Get("Content-Type"); response.StatusCode != 200 || kind != "text/event-stream" {
		t.Fatalf("%s, %s", response.Status, kind)
	}
	e := &ear{t: t, lines: bufio.NewScanner(response.Body), leave: leave}
	e.lines.Buffer(nil, 16<<20)
	t.Cleanup(func() { leave(); response.Body.Close() })
	return e
}

// hear returns the next event; none at the end of the stream.
func (e *ear) hear() (s said, ok bool) {
	e.t.Helper()
	late := time.AfterFunc(20*time.Second, e.leave)
	defer late.Stop()
	for e.lines.Scan() {
		field, value, _ := strings.Cut(e.lines.Text(), ": ")
		switch field {
		case "event":
			s.kind = value
		case "id":
			s.id = value
		case "data":
			s.data += value
		case "retry":
			s.retry = value
		case "":
			return s, true
		default:
			e.t.Errorf("a line that is no field: %q", e.lines.Text())
		}
	}
	return s, false
}

// until collects the ids of the events up to the first stats, which it returns too.
func (e *ear) until() (ids []string, stats *supervisor.Snapshot) {
	e.t.Helper()
	for {
		s, ok := e.hear()
		switch {
		case !ok:
			e.t.Fatalf("the stream ended behind %q", ids)
		case s.kind == "event":
			ids = append(ids, s.id)
		case s.kind == "stats":
			if err := json.Unmarshal([]byte(s.data), &stats); err != nil {
				e.t.Fatal(err)
			}
			return ids, stats
		}
	}
}

func happen(source *apitest.Source, n int) {
	for i := range n {
		text := fmt.Sprintf("line one\nline two of %d", i)
		source.Happen(supervisor.Event{Kind: supervisor.EventReady, Worker: new(i), Text: text})
	}
}

func TestANewListenerHearsWhatHappenedAndThenWhatIs(t *testing.T) {
	source := apitest.NewSource(apitest.Rich())
	happen(source, 2)
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, source, l)
	e := hark(t, http.DefaultClient, "http://"+l.Address()+"/events")
	if first, _ := e.hear(); first != (said{retry: "2000"}) {
		t.Errorf("it begins with %+v", first)
	}
	for i, want := range source.Events(0) {
		got, _ := e.hear()
		var event supervisor.Event
		if err := json.Unmarshal([]byte(got.data), &event); err != nil || got.kind != "event" || got.id != fmt.Sprint(i+1) {
			t.Errorf("%+v: %v", got, err)
		}
		if diff := cmp.Diff(want, event); diff != "" {
			t.Error(diff)
		}
	}
	_, stats := e.until()
	if diff := cmp.Diff(apitest.Rich(), stats); diff != "" {
		t.Errorf("the stats (-served +heard):\n%s", diff)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	var last said
	for next, ok := e.hear(); ok; next, ok = e.hear() {
		last = next
	}
	if last != (said{kind: "end", data: "{}"}) {
		t.Errorf("it ends with %+v", last)
	}
}

func TestAListenerThatComesBackHearsOnlyWhatItMissed(t *testing.T) {
	source := apitest.NewSource(apitest.Example())
	happen(source, 3)
	url := serve(t, source) + "/events"
	all := []string{"1", "2", "3"}
	for _, test := range []struct {
		query, last string
		want        []string
	}{
		{"", "", all},
		{"", "2", all[2:]},
		{"", "3", nil},
		{"?after=1", "", all[1:]},
		{"?after=1", "2", all[2:]}, // the address is from the first time, the header is newer
		{"?after=0", "", all},
		{"", "4", all}, // of the process before this one
		{"?after=99", "", all},
		{"", "mine", all},
	} {
		e := hark(t, http.DefaultClient, url+test.query, "Last-Event-ID", test.last)
		got, _ := e.until()
		e.leave()
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%q with Last-Event-ID %q:\n%s", test.query, test.last, diff)
		}
	}
	response, body := ask(t, "GET", url+"?after=x")
	if response.StatusCode != 400 || !strings.HasPrefix(body, "cannot begin") {
		t.Errorf("?after=x: %s %q", response.Status, body)
	}
}

func TestAListenerFindsTheNextProcessAtTheSameAddress(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	client := Dial(path).http
	first, second := apitest.NewSource(apitest.Example()), apitest.NewSource(apitest.Example())
	happen(first, 5)
	happen(second, 2)
	last := ""
	for _, run := range []struct {
		source *apitest.Source
		want   []string
	}{{first, []string{"1", "2", "3", "4", "5"}}, {second, []string{"1", "2"}}} {
		l, err := Listen("unix:" + path)
		if err != nil {
			t.Fatal(err)
		}
		s := start(t, run.source, l)
		e := hark(t, &client, "http://x/events", "Last-Event-ID", last)
		got, _ := e.until()
		if diff := cmp.Diff(run.want, got); diff != "" {
			t.Errorf("behind event %q:\n%s", last, diff)
		}
		last = got[len(got)-1]
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestTheLast256EventsAreToldWheneverSomebodyComes(t *testing.T) {
	source := apitest.NewSource(apitest.Example())
	h, path := serveHub(t, source, writeTimeout, writeTimeout)
	client := Dial(path).http
	for round, want := range []struct{ first, n int }{{1, 200}, {145, 256}} {
		happen(source, 200)
		e := hark(t, &client, "http://x/events")
		got, _ := e.until()
		e.leave()
		eventually(t, "nobody listens", h.deserted)
		if len(got) != want.n || got[0] != fmt.Sprint(want.first) {
			t.Errorf("round %d: %d events from %s on, want %+v", round, len(got), got[0], want)
		}
	}
}

func TestAReloadIsSeenAsItHappens(t *testing.T) {
	t.Parallel()
	source := apitest.NewSource(apitest.Example())
	e := hark(t, http.DefaultClient, serve(t, source)+"/events")
	e.until()
	for done := range 5 {
		s := apitest.Example()
		s.Supervisor.Operation = &supervisor.Operation{Kind: "reload", Phase: "rolling", Done: done, Total: 4}
		source.Happen(supervisor.Event{Kind: supervisor.EventReady, Text: "ready"})
		source.Show(s)
		for heard := 0; ; {
			ids, stats := e.until()
			heard += len(ids)
			if o := stats.Supervisor.Operation; o == nil || o.Done != done {
				continue // a moment before
			}
			if heard != 1 {
				t.Errorf("step %d is shown behind %d new events, want 1", done, heard)
			}
			break
		}
	}
}

func TestFiguresThatChangeWithoutAWordAreTold(t *testing.T) {
	t.Parallel()
	source := apitest.NewSource(nil)
	e := hark(t, http.DefaultClient, serve(t, source)+"/events")
	source.View.Store(apitest.Loading())
	if _, stats := e.until(); stats.Supervisor.State != supervisor.StateLoading {
		t.Errorf("while it loads: %s", stats.Supervisor.State)
	}
	source.View.Store(apitest.Example())
	for {
		if _, stats := e.until(); stats.Supervisor.State == supervisor.StateRunning {
			return
		}
	}
}

func TestTheControlSocketTellsEventsToo(t *testing.T) {
	path := serveControl(t, apitest.NewSource(apitest.Example()), &apitest.Control{})
	client := Dial(path).http
	hark(t, &client, "http://x/events").until()
}
