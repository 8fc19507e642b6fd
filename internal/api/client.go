// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// The client of the control socket.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/preforkd/preforkd/supervisor"
)

// maxAnswer bounds what a client reads: a snapshot of 1,000 workers with ten datasets each has about 4 MB.
const maxAnswer = 64 << 20

// Client talks to one instance over its control socket. It keeps no connection open.
type Client struct {
	path     string
	http     http.Client
	patience time.Duration // how long it waits for the next line about an order
}

// Dial returns a client of the control socket at path. Nothing is opened before the first call.
func Dial(path string) *Client {
	return &Client{path: path, patience: maxSilence, http: http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}}
}

// Stats asks for the newest snapshot and returns it decoded and as it was sent.
func (c *Client) Stats(ctx context.Context) (*supervisor.Snapshot, []byte, error) {
	raw, err := c.get(ctx, "/stats")
	if err != nil {
		return nil, nil, err
	}
	var snapshot supervisor.Snapshot
	if err := json.Unmarshal(raw, &snapshot); err != nil {
		return nil, raw, fmt.Errorf("cannot understand the stats from %s: %v", c.path, err)
	}
	if snapshot.Schema != supervisor.SchemaVersion {
		return nil, raw, fmt.Errorf("cannot understand the stats from %s: preforkd %s there speaks schema %d, this one %d",
			c.path, snapshot.Supervisor.Version, snapshot.Schema, supervisor.SchemaVersion)
	}
	return &snapshot, raw, nil
}

func (c *Client) get(ctx context.Context, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://preforkd"+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("cannot reach preforkd at %s: %w", c.path, inner(err))
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("cannot read the answer from %s: %w", c.path, inner(err))
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("cannot get %s from %s: %s: %s", path, c.path, response.Status, bytes.TrimSpace(body))
	}
	return body, nil
}

// inner is an error without the URL and the wrapping of the layers below, which say nothing to a user of a socket.
func inner(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("it did not answer in time")
	}
	return cause(err)
}
