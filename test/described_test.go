// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// What a preforkd says of itself at /openapi.json, and answers that are held against it.

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// description is what a fleet says of itself, and how often each schema was found to be true.
type description struct {
	fleet *fleet
	doc   *openapi3.T

	mu    sync.Mutex
	count map[string]int
}

func readDescription(t *testing.T, text []byte) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err == nil {
		err = doc.Validate(context.Background())
	}
	if err != nil {
		t.Fatalf("the description is not OpenAPI 3.1: %v", err)
	}
	return doc
}

// described waits until the fleet answers and reads its description.
func (f *fleet) described() *description {
	f.t.Helper()
	var text []byte
	within(f.t, patience, "the control socket answers", func() (ok bool) {
		status, body, err := f.ask("/openapi.json")
		text = body
		return err == nil && status == http.StatusOK
	})
	return &description{fleet: f, doc: readDescription(f.t, text), count: map[string]int{}}
}

func (d *description) note(what string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count[what]++
}

func (d *description) noted(what string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.count[what]
}

// value holds a JSON text against a schema of the description.
func (d *description) value(schema string, text []byte) error {
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		return fmt.Errorf("%s: %w", schema, err)
	}
	ref := d.doc.Components.Schemas[schema]
	if ref == nil {
		return fmt.Errorf("no schema %s is described", schema)
	}
	if err := ref.Value.VisitJSON(value, openapi3.EnableJSONSchema2020(), openapi3.MultiErrors()); err != nil {
		return fmt.Errorf("%s: %w in %s", schema, err, text)
	}
	d.note(schema)
	return nil
}

// answer holds a whole answer against the description of its path: status, Content-Type, body.
func (d *description) answer(request *http.Request, response *http.Response, body []byte) error {
	item := d.doc.Paths.Value(request.URL.Path)
	if item == nil || item.GetOperation(request.Method) == nil {
		return fmt.Errorf("%s %s is not described", request.Method, request.URL.Path)
	}
	operation := item.GetOperation(request.Method)
	ref := operation.Responses.Status(response.StatusCode)
	if ref == nil {
		return fmt.Errorf("%s %s answers %s, which is not described", request.Method, request.URL.Path, response.Status)
	}
	kind := response.Header.Get("Content-Type")
	media := ref.Value.Content.Get(kind)
	if media == nil {
		return fmt.Errorf("%s %s answers with %s, which is not described", request.Method, request.URL.Path, kind)
	}
	d.note(fmt.Sprint(request.Method, " ", request.URL.Path, " ", response.StatusCode))
	if !strings.HasPrefix(kind, "application/json") {
		return nil // text for people, or a stream whose lines are looked at one by one
	}
	return openapi3filter.ValidateResponse(request.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{
			Request: request,
			Route:   &routers.Route{Spec: d.doc, Path: request.URL.Path, PathItem: item, Method: request.Method, Operation: operation},
		},
		Status: response.StatusCode, Header: response.Header, Body: io.NopCloser(bytes.NewReader(body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	})
}

// ask sends a request to the control socket, holds the answer against the description and returns it.
func (d *description) ask(method, path, body string, header ...string) (status int, text []byte, err error) {
	request, err := http.NewRequest(method, "http://localhost"+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := d.fleet.stats.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	if text, err = io.ReadAll(response.Body); err != nil {
		return 0, nil, err
	}
	return response.StatusCode, text, d.answer(request, response, text)
}

// ending is the last line of an answer to an order.
type ending struct {
	Code        int
	Text, Error string
}

// order gives an order, which must be taken, and holds each line of the answer against the description.
func (d *description) order(path, body string) (last ending) {
	t := d.fleet.t
	t.Helper()
	status, text, err := d.ask(http.MethodPost, path, body)
	if err != nil || status != http.StatusOK {
		t.Fatalf("%s %s: status %d, %v\n%s", path, body, status, err, text)
	}
	lines := strings.SplitAfter(strings.TrimSuffix(string(text), "\n"), "\n")
	for i, line := range lines {
		schema := "ProgressLine"
		if i == len(lines)-1 {
			schema = "LastLine"
		}
		if err := d.value(schema, []byte(line)); err != nil {
			t.Errorf("%s %s: %v", path, body, err)
		}
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
		t.Fatal(err)
	}
	return last
}

// follow holds every message of /events against the description until the stream ends. look, if it is not nil, gets each.
func (d *description) follow(ctx context.Context, look func(kind string, data []byte)) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/events", http.NoBody)
	if err != nil {
		return err
	}
	client := http.Client{Transport: d.fleet.stats.Transport} // without a limit of time
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if err := d.answer(request, response, nil); err != nil {
		return err
	}
	schemas := map[string]string{"event": "Event", "stats": "Snapshot", "end": "End"}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
	kind := ""
	for lines.Scan() {
		field, text, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "event":
			kind = text
		case "data":
			if schemas[kind] == "" {
				return fmt.Errorf("a message of kind %q, which is not described", kind)
			}
			if err := d.value(schemas[kind], []byte(text)); err != nil {
				return err
			}
			if look != nil {
				look(kind, []byte(text))
			}
		case "", "id", "retry":
		default:
			return fmt.Errorf("line %q of the stream", lines.Text())
		}
	}
	if err := lines.Err(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
