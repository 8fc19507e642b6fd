// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

// preforkd stop: the end of a running instance.

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"github.com/preforkd/preforkd/internal/api"
	"github.com/preforkd/preforkd/internal/rundir"
	"github.com/preforkd/preforkd/supervisor"
)

const stopHelp = `Stops a running instance gracefully, as TERM does, and returns when it is gone.
`

// goneEvery is how often stop looks whether the instance is gone.
const goneEvery = 100 * time.Millisecond

func stopVerb() verb {
	return verb{help: stopHelp, prepare: func(flags *pflag.FlagSet) func([]string) (order, error) {
		quick := flags.Bool("quick", false, "stop quickly, as INT does; once more kills")
		return func(words []string) (order, error) {
			if len(words) > 0 {
				return nil, fmt.Errorf("unexpected argument %q", words[0])
			}
			return func(ctx context.Context, to *instance, show func(string)) (string, error) {
				return stop(ctx, to, *quick, show)
			}, nil
		}
	}}
}

func stop(ctx context.Context, to *instance, quick bool, show func(string)) (string, error) {
	before, err := to.stats(ctx)
	if err != nil {
		return "", err
	}
	pid := before.Supervisor.PID
	// The answer may be lost when the end comes fast: what counts is whether it came.
	_, err = to.Stop(ctx, quick)
	switch {
	case errors.Is(err, api.ErrUnknownOrder):
		return "", fmt.Errorf("%w; kill -TERM %d stops it", err, pid)
	case err != nil && to.lives():
		return "", err
	}
	ticker := time.NewTicker(goneEvery)
	defer ticker.Stop()
	for to.lives() {
		// Between its last answer and its end an instance is silent. Another pid: it is gone, and the next one is here.
		if now, err := to.stats(ctx); err == nil {
			if now.Supervisor.PID != pid {
				break
			}
			show(leftToStop(now))
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
	return fmt.Sprintf("stopped: process %d is gone", pid), nil
}

// lives tells whether a process holds the instance's run directory.
func (i *instance) lives() bool {
	_, err := rundir.Find("", filepath.Dir(i.control))
	return !errors.Is(err, rundir.ErrNoInstance)
}

// stats is the newest snapshot, if it comes soon.
func (i *instance) stats(ctx context.Context) (*supervisor.Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	snapshot, _, err := i.Stats(ctx)
	return snapshot, err
}

func leftToStop(s *supervisor.Snapshot) string {
	workers := 0
	for i := range s.Workers {
		if s.Workers[i].PID != nil {
			workers++
		}
	}
	switch workers {
	case 0:
		return "stopping: no worker left"
	case 1:
		return "stopping: 1 worker left"
	}
	return fmt.Sprintf("stopping: %d workers left", workers)
}
