// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// The orders of the control socket: their bodies, and what is refused before anybody is asked.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
)

// Control changes the fleet. Reload, Restart and Scale block until the change is done, and return a sentence for people; the
// end of ctx ends only the waiting. An error is a *supervisor.Error, whose Kind is what the verb exits with.
type Control interface {
	// Reload takes the configuration and the data anew and replaces the workers. With names it loads only those datasets,
	// and replaces nobody when none of them has changed.
	Reload(ctx context.Context, names []string) (text string, err error)
	// Restart replaces the workers of these slots; without ids of all.
	Restart(ctx context.Context, ids []int) (text string, err error)
	// Scale makes it that many slots.
	Scale(ctx context.Context, workers int) (text string, err error)
	// Stop asks the fleet to stop and returns at once. Quick is what INT does: the second time it kills.
	Stop(quick bool)
}

// The bodies of the orders. A body may be empty where all of its fields may be missing.
type (
	reloadBody struct {
		Names []string `json:"names"`
	}
	restartBody struct {
		IDs []int `json:"ids"`
	}
	scaleBody struct {
		Workers *int `json:"workers"`
	}
	stopBody struct {
		Quick bool `json:"quick"`
	}
)

// maxBody is more than the names of all datasets and the ids of all workers take.
const maxBody = 64 << 10

// order is what is left to do when the body was understood.
type order func(ctx context.Context) (text string, err error)

// orders returns the rows of the table that change something.
func orders(source Source, control Control) []route {
	d := &desk{source: source, places: make(chan struct{}, maxWaiting)}
	exit := &desk{source: source, places: make(chan struct{}, maxWaiting)} // a stop waits behind no other order
	return []route{
		verb("/reload", `{"names": ["emb"]}; without names everything`, take(d, func(b reloadBody) (order, error) {
			return func(ctx context.Context) (string, error) { return control.Reload(ctx, b.Names) }, nil
		})),
		verb("/restart", `{"ids": [0, 2]}; without ids every worker`, take(d, func(b restartBody) (order, error) {
			return func(ctx context.Context) (string, error) { return control.Restart(ctx, b.IDs) }, nil
		})),
		verb("/scale", `{"workers": 6}`, take(d, func(b scaleBody) (order, error) {
			if b.Workers == nil {
				return nil, errors.New(`"workers" is missing`)
			}
			return func(ctx context.Context) (string, error) { return control.Scale(ctx, *b.Workers) }, nil
		})),
		verb("/stop", `{"quick": false}; answered when the stop was ordered`, take(exit, func(b stopBody) (order, error) {
			return func(context.Context) (string, error) { control.Stop(b.Quick); return "stopping", nil }, nil
		})),
	}
}

func verb(path, doc string, handler http.HandlerFunc) route {
	return route{method: http.MethodPost, path: path, doc: doc, handler: handler}
}

// take reads a body of type B, has the order made of it and carries it out. What is wrong with the request is told by the
// status; from 200 on the answer is a stream.
func take[B any](d *desk, understand func(B) (order, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var do order
		body, status, err := readBody[B](w, r)
		if err == nil {
			do, err = understand(body)
		}
		if err != nil {
			http.Error(w, fmt.Sprintf("cannot take the order %s: %v", r.URL.Path, err), status)
			return
		}
		d.carryOut(w, r, do)
	}
}

// readBody reads and decodes a body strictly. status goes with the error, and with one that the caller finds.
func readBody[B any](w http.ResponseWriter, r *http.Request) (body B, status int, err error) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, long := errors.AsType[*http.MaxBytesError](err); long {
		return body, http.StatusRequestEntityTooLarge, fmt.Errorf("its body is longer than %d bytes", maxBody)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return body, http.StatusRequestTimeout, fmt.Errorf("its body did not come within %v", readTimeout)
	}
	if err != nil || len(text) == 0 {
		return body, http.StatusBadRequest, err
	}
	return body, http.StatusBadRequest, decode(text, &body)
}

// decode takes one JSON object, with fields that are known, and nothing behind it.
func decode[B any](text []byte, body *B) error {
	// A pointer to the pointer: null, which is no object, would leave the body as it is.
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&body); err != nil {
		return fmt.Errorf("its body is not the JSON that it should be: %v", err)
	}
	if body == nil {
		return errors.New("its body is null: send an object, or nothing")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("its body goes on behind the JSON object")
	}
	return nil
}
