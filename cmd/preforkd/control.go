// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

// What signals and the control socket may ask of a running fleet.

import (
	"context"
	"log/slog"

	"github.com/preforkd/preforkd/internal/config"
	"github.com/preforkd/preforkd/supervisor"
)

// control is an api.Control.
type control struct {
	fleet   *supervisor.Supervisor
	load    func() (*config.Options, error) // reads flags, variables and file again
	options *config.Options                 // what this process was started with
	log     *slog.Logger
}

// Reload re-reads the configuration and rolls the workers; with names it only loads these datasets again.
func (c *control) Reload(ctx context.Context, names []string) (string, error) {
	return c.fleet.Reload(ctx, c.renew, names...)
}

func (c *control) renew() (supervisor.Config, error) {
	options, err := c.load()
	if err != nil {
		return supervisor.Config{}, err
	}
	if err := config.Frozen(c.options, options); err != nil {
		return supervisor.Config{}, err
	}
	return supervisorConfig(options)
}

func (c *control) Restart(ctx context.Context, ids []int) (string, error) {
	return c.fleet.Restart(ctx, ids...)
}

func (c *control) Scale(ctx context.Context, workers int) (string, error) {
	return c.fleet.Scale(ctx, workers)
}

func (c *control) Stop(quick bool) {
	c.log.Info("stopping", "order", "stop", "quick", quick)
	if quick {
		c.fleet.Quit()
	} else {
		c.fleet.Stop()
	}
}
