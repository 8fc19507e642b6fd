// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

// Clients of a preforkd that ask for its stats.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"
)

// askStats has clients ask for a page of the server at a unix socket for some seconds, each on a connection of its own
// and with a pause of random length before each request.
func askStats(o order) (answer, error) {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		all   []float64
		fail  error
		bytes int64
	)
	end := now() + o.Seconds
	for range o.Threads {
		wg.Go(func() {
			took, size, err := askOne(o, end)
			mu.Lock()
			defer mu.Unlock()
			all, fail, bytes = append(all, took...), errors.Join(fail, err), max(bytes, size)
		})
	}
	wg.Wait()
	if fail != nil {
		return nil, fail
	}
	a := latencies(all)
	a["bytes"] = bytes
	return a, nil
}

// askOne is one client: what its requests took, and the size of the last answer.
func askOne(o order, end float64) (took []float64, size int64, err error) {
	url := "http://localhost" + o.Kind
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", o.Path)
	}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: timeout}
	for len(took) == 0 || now() < end {
		wait(context.Background(), time.Duration(2*o.Pause*rand.Float64()*float64(time.Second)))
		began := now()
		response, err := client.Get(url)
		if err != nil {
			return nil, 0, err
		}
		size, err = io.Copy(io.Discard, response.Body)
		if err = errors.Join(err, response.Body.Close()); err != nil {
			return nil, 0, err
		}
		if response.StatusCode != http.StatusOK {
			return nil, 0, fmt.Errorf("%s: %s", url, response.Status)
		}
		took = append(took, now()-began)
	}
	return took, size, nil
}
