// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package apitest

import (
	"context"
	"fmt"
	"sync"
)

// Control takes orders and does nothing but remember them. It implements api.Control.
type Control struct {
	// Answer, if it is set, is what each order but Stop waits for and returns.
	Answer func(ctx context.Context) (string, error)
	// Stopped, if it is set, is called by Stop.
	Stopped func(quick bool)

	mu    sync.Mutex
	taken []string
}

// Reload implements api.Control.
func (c *Control) Reload(ctx context.Context, names []string) (string, error) {
	return c.take(ctx, fmt.Sprintf("reload %q", names))
}

// Restart implements api.Control.
func (c *Control) Restart(ctx context.Context, ids []int) (string, error) {
	return c.take(ctx, fmt.Sprintf("restart %d", ids))
}

// Scale implements api.Control.
func (c *Control) Scale(ctx context.Context, workers int) (string, error) {
	return c.take(ctx, fmt.Sprintf("scale %d", workers))
}

// Stop implements api.Control.
func (c *Control) Stop(quick bool) {
	c.note(fmt.Sprintf("stop %v", quick))
	if c.Stopped != nil {
		c.Stopped(quick)
	}
}

// Taken returns the orders so far, as `reload ["emb"]`, and forgets them.
func (c *Control) Taken() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	taken := c.taken
	c.taken = nil
	return taken
}

func (c *Control) take(ctx context.Context, order string) (string, error) {
	c.note(order)
	if c.Answer == nil {
		return "done", nil
	}
	return c.Answer(ctx)
}

func (c *Control) note(order string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taken = append(c.taken, order)
}
