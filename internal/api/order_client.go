// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// The client's orders.

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/preforkd/preforkd/supervisor"
)

const (
	maxSilence = 6 * aliveEvery // an instance that lives says something
	maxLine    = 1 << 20        // the last words of a worker are 8 KiB
	maxRefusal = 4 << 10
)

// ErrUnknownOrder says that the instance takes no such order: it is an older preforkd.
var ErrUnknownOrder = errors.New("the preforkd that runs there is older than this program and does not know this order")

// The orders wait until they are carried out and return the instance's sentence about it; progress, if it is not nil, is
// called with each step. The end of ctx ends only the waiting: the error is then its cause. An order that was refused, or
// failed, is a *supervisor.Error whose Kind is the exit code of the verb.

// Reload has the configuration and the data taken anew and the workers replaced; with names only those datasets, and the
// workers if one of them changed.
func (c *Client) Reload(ctx context.Context, names []string, progress func(supervisor.Operation)) (string, error) {
	return c.order(ctx, "reload", reloadBody{names}, progress)
}

// Restart has the workers of these slots replaced, without ids all.
func (c *Client) Restart(ctx context.Context, ids []int, progress func(supervisor.Operation)) (string, error) {
	return c.order(ctx, "restart", restartBody{ids}, progress)
}

// Scale sets the number of slots.
func (c *Client) Scale(ctx context.Context, workers int, progress func(supervisor.Operation)) (string, error) {
	return c.order(ctx, "scale", scaleBody{&workers}, progress)
}

// Stop asks the fleet to stop, quickly as by INT, and does not wait until it has.
func (c *Client) Stop(ctx context.Context, quick bool) (string, error) {
	return c.order(ctx, "stop", stopBody{quick}, nil)
}

func (c *Client) order(ctx context.Context, verb string, body any, progress func(supervisor.Operation)) (string, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(c.patience, func() {
		cancel(fmt.Errorf("cannot wait for the %s any longer: preforkd at %s has said nothing for %v", verb, c.path, c.patience))
	})
	defer silence.Stop()
	text, err := json.Marshal(body)
	if err != nil {
		return "", err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://preforkd/"+verb, bytes.NewReader(text))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := c.http.Do(request)
	if err != nil && ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err != nil {
		return "", fmt.Errorf("cannot reach preforkd at %s: %w", c.path, inner(err))
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return "", c.refused(verb, response)
	}
	last, err := follow(response.Body, func(line progressLine) {
		silence.Reset(c.patience)
		if progress != nil && line.Operation != nil {
			progress(*line.Operation)
		}
	})
	switch {
	case err != nil && ctx.Err() != nil:
		return "", context.Cause(ctx)
	case err != nil:
		return "", fmt.Errorf("cannot tell how the %s ended: preforkd at %s stopped answering: %w", verb, c.path, inner(err))
	case last.Code != 0:
		return "", &supervisor.Error{Kind: supervisor.Kind(last.Code), Err: errors.New(last.Error)}
	}
	return last.Text, nil
}

// follow reads lines up to the last one.
func follow(body io.Reader, step func(progressLine)) (lastLine, error) {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var line struct {
			progressLine
			lastLine
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return lastLine{}, err
		}
		if line.Done {
			return line.lastLine, nil
		}
		step(line.progressLine)
	}
	if err := lines.Err(); err != nil {
		return lastLine{}, err
	}
	return lastLine{}, io.ErrUnexpectedEOF
}

// refused is the error for an order that was not taken.
func (c *Client) refused(verb string, response *http.Response) error {
	if response.StatusCode == http.StatusNotFound {
		return fmt.Errorf("cannot %s: %w (%s)", verb, ErrUnknownOrder, c.path)
	}
	text, _ := io.ReadAll(io.LimitReader(response.Body, maxRefusal)) // as much as came says why
	kind := supervisor.KindFleet
	if response.StatusCode == http.StatusBadRequest {
		kind = supervisor.KindConfig
	}
	return &supervisor.Error{Kind: kind, Err: fmt.Errorf("%s", bytes.TrimSpace(text))}
}
