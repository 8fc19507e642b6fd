// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// A load generator: clients that send one request after the other at full speed, each on a connection of its own. Every
// request is answered 200 with the right body, or counts as failed with its error.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// load is what a load generator sends, and where.
type load struct {
	clients int
	address string        // HOST:PORT, or unix:PATH
	path    string        // "/" if empty
	pace    time.Duration // of each client, from the begin of one request to that of the next: full speed if 0
	right   func(body string) bool
}

// tally is what came of a load.
type tally struct {
	answered  int
	failures  []string        // one for each request that failed
	latencies []time.Duration // of those answered
}

func (y tally) String() string {
	if y.answered == 0 {
		return fmt.Sprintf("0 answered, %d failed", len(y.failures))
	}
	slices.Sort(y.latencies)
	at := func(q float64) time.Duration {
		return y.latencies[int(q*float64(len(y.latencies)-1))].Round(10 * time.Microsecond)
	}
	return fmt.Sprintf("%d answered, %d failed, latency %v median, %v p99, %v at most", y.answered, len(y.failures), at(0.5), at(0.99), at(1))
}

// nothingLost fails the test if a request failed or none was answered.
func (y tally) nothingLost(t *testing.T) {
	t.Helper()
	if y.answered == 0 {
		t.Error("no request was answered")
	}
	if len(y.failures) > 0 {
		t.Errorf("%d of %d requests failed:\n%s", len(y.failures), len(y.failures)+y.answered, y.kinds())
	}
}

// kinds counts the failures by their text.
func (y tally) kinds() string {
	counts := map[string]int{}
	for _, text := range y.failures {
		counts[text]++
	}
	var lines []string
	for text, n := range counts {
		lines = append(lines, fmt.Sprintf("%6d × %s", n, text))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// start begins a load. The returned function ends it, waits for the requests under way, and may be called once.
func (l load) start(t *testing.T) (stop func() tally) {
	t.Helper()
	if l.path == "" {
		l.path = "/"
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	results := make([]tally, l.clients)
	for i := range results {
		wg.Go(func() { results[i] = l.client(ctx) })
	}
	finish := func() { cancel(); wg.Wait() }
	t.Cleanup(finish)
	return func() tally {
		finish()
		var all tally
		for _, r := range results {
			all.answered += r.answered
			all.failures = append(all.failures, r.failures...)
			all.latencies = append(all.latencies, r.latencies...)
		}
		return all
	}
}

func (l load) client(ctx context.Context) (y tally) {
	for ctx.Err() == nil {
		begin := time.Now()
		if err := l.request(); err != nil {
			y.failures = append(y.failures, portless(err))
		} else {
			y.answered++
			y.latencies = append(y.latencies, time.Since(begin))
		}
		if rest := l.pace - time.Since(begin); rest > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(rest):
			}
		}
	}
	return y
}

func (l load) request() error {
	network, address := "tcp", l.address
	if path, ok := strings.CutPrefix(l.address, "unix:"); ok {
		network, address = "unix", path
	}
	conn, err := net.DialTimeout(network, address, patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", l.path); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK || !l.right(string(body)) {
		return fmt.Errorf("status %d, body %q", response.StatusCode, body)
	}
	return nil
}

// portless is an error without the client's port, so that equal ones look equal.
func portless(err error) string {
	if failure, ok := errors.AsType[*net.OpError](err); ok {
		return failure.Err.Error()
	}
	return err.Error()
}

// lasting is how long a load goes on: 15 s, or 60 s with PREFORKD_E2E_LONG=1, as the promises say.
func lasting() time.Duration {
	if os.Getenv("PREFORKD_E2E_LONG") == "1" {
		return time.Minute
	}
	return 15 * time.Second
}
