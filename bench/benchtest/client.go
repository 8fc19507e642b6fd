// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

// The client of bench/reload.sh: it asks all the time, and notes who answered from which generation of the data, and
// when.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// Half of the clients keep their connection, half make one for each request.
	clients = 8
	// pause is between the requests of one client: 2,000 requests a second in all, which leaves some CPU to the reload.
	pause = 4 * time.Millisecond
	// timeout is how long a request may take before it counts as failed.
	timeout = 10 * time.Second
	kept    = 5 // texts of failures
)

// seen is what the answers of one generation told.
type seen struct {
	first map[int]float64 // by slot
	last  float64
	pids  map[int]bool
}

// journal is what the clients note. Times are seconds of CLOCK_MONOTONIC, which other processes read too.
type journal struct {
	sync.Mutex
	generations map[uint64]*seen
	took        []float64
	failed      int
	failures    []string
	news        chan struct{} // something was noted
}

// load puts the server at an address under load and answers orders about what came back.
func load(address string) error {
	j := &journal{generations: map[uint64]*seen{}, news: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() { ask(ctx, j, "http://"+address, i%2 == 0) })
	}
	err := obey(j.do)
	cancel()
	wg.Wait()
	return err
}

// ask sends one request after another until the context ends.
func ask(ctx context.Context, j *journal, url string, keep bool) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: !keep}, Timeout: timeout}
	turns := time.NewTicker(pause)
	defer turns.Stop()
	for {
		select {
		case <-turns.C:
		case <-ctx.Done():
			return
		}
		began := now()
		slot, pid, generation, err := get(client, url)
		j.note(began, now(), slot, pid, generation, err)
	}
}

func get(client *http.Client, url string) (slot, pid int, generation uint64, err error) {
	response, err := client.Get(url)
	if err != nil {
		return 0, 0, 0, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, 0, 0, err
	}
	if response.StatusCode != http.StatusOK {
		return 0, 0, 0, fmt.Errorf("%s: %s", response.Status, body)
	}
	_, err = fmt.Sscan(string(body), &slot, &pid, &generation)
	return slot, pid, generation, err
}

func (j *journal) note(began, ended float64, slot, pid int, generation uint64, err error) {
	j.Lock()
	defer j.Unlock()
	j.took = append(j.took, ended-began)
	if err != nil {
		j.failed++
		if len(j.failures) < kept {
			j.failures = append(j.failures, err.Error())
		}
		return
	}
	g := j.generations[generation]
	if g == nil {
		g = &seen{first: map[int]float64{}, pids: map[int]bool{}}
		j.generations[generation] = g
	}
	if _, ok := g.first[slot]; !ok {
		g.first[slot] = ended
	}
	g.last, g.pids[pid] = ended, true
	select {
	case j.news <- struct{}{}:
	default:
	}
}

func (j *journal) do(o order) (answer, error) {
	switch o.Do {
	case "await":
		return nil, j.await(o)
	case "report":
		return j.report(o.Number), nil
	}
	return nil, fmt.Errorf("cannot do %q", o.Do)
}

// await returns when so many slots have answered from a generation.
func (j *journal) await(o order) error {
	late := time.NewTimer(time.Duration(o.Seconds * float64(time.Second)))
	defer late.Stop()
	for {
		j.Lock()
		g, answered := j.generations[o.Number], 0
		if g != nil {
			answered = len(g.first)
		}
		j.Unlock()
		if answered >= o.Workers {
			return nil
		}
		select {
		case <-j.news:
		case <-late.C:
			return errors.New(fmt.Sprint("only ", answered, " workers have answered from generation ", o.Number))
		}
	}
}

// report tells about a generation, and how requests went since the last report.
func (j *journal) report(generation uint64) answer {
	j.Lock()
	defer j.Unlock()
	a := answer{"requests": len(j.took), "failed": j.failed, "failures": j.failures}
	if len(j.took) > 0 {
		slices.Sort(j.took)
		a["p50"], a["p99"] = j.took[len(j.took)/2], j.took[len(j.took)*99/100]
		a["longest"] = j.took[len(j.took)-1]
	}
	if g := j.generations[generation]; g != nil {
		first := 0.0
		for _, t := range g.first {
			first = max(first, t)
		}
		a["last_first"], a["pids"] = first, len(g.pids)
	}
	if old := j.generations[generation-1]; old != nil {
		a["last_old"] = old.last
	}
	j.took, j.failed, j.failures = nil, 0, nil
	return a
}

func now() float64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // it cannot fail
	return float64(t.Sec) + float64(t.Nsec)/1e9
}
