// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

// The workers of bench/stats.sh: processes that all map one segment, and what preforkd's sampler is told of them.

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"time"

	"github.com/preforkd/preforkd/internal/memstat"
)

// crowd is the workers, and the two samplers that look at those of them that share the segment now.
type crowd struct {
	workers []*hand
	sharing []*hand
	segment *held
	t0, t1  *memstat.Sampler
	now     time.Time // made up: it decides what is due
}

// hand is one worker that takes orders: `benchtest mapper`.
type hand struct {
	cmd    *exec.Cmd
	pid    int
	orders io.WriteCloser
	answer *json.Decoder
}

func (h *hand) say(o order) error { return json.NewEncoder(h.orders).Encode(o) }

func (h *hand) hear() (answer, error) {
	var a answer
	if err := h.answer.Decode(&a); err != nil {
		return nil, fmt.Errorf("cannot hear worker %d: %w", h.pid, err)
	}
	if text, failed := a["error"]; failed {
		return nil, fmt.Errorf("worker %d: %v", h.pid, text)
	}
	return a, nil
}

// grow starts workers until there are so many. They end when this process does: their orders end.
func (c *crowd) grow(workers int) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	for i := len(c.workers); i < workers; i++ {
		cmd := exec.Command(program, "mapper", strconv.Itoa(i)) // smem chooses by the command line
		cmd.Env = append(os.Environ(), "GOMAXPROCS=1")          // fewer threads
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			return err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return err
		}
		if err := cmd.Start(); err != nil {
			return err
		}
		c.workers = append(c.workers, &hand{cmd: cmd, pid: cmd.Process.Pid, orders: in, answer: json.NewDecoder(out)})
	}
	return c.all(c.workers, order{Do: "wait"}) // who answers has started
}

// all has workers carry out an order side by side.
func (c *crowd) all(workers []*hand, o order) error {
	for _, h := range workers {
		if err := h.say(o); err != nil {
			return err
		}
	}
	var failed error
	for _, h := range workers {
		_, err := h.hear()
		failed = errors.Join(failed, err)
	}
	return failed
}

// end has all workers end and waits for it.
func (c *crowd) end() error {
	var failed error
	for _, h := range c.workers {
		failed = errors.Join(failed, h.orders.Close())
	}
	for _, h := range c.workers {
		failed = errors.Join(failed, h.cmd.Wait())
	}
	c.workers = nil
	return failed
}

// never is later than any bench.
const never = 1_000_000 * time.Hour

// share has the first workers map all of a segment. The samplers know them before that: so they read smaps_rollup, as
// they do of every new worker, while there is nothing to read, and their longest call is one of the page scans.
func (c *crowd) share(segment *held, o order) error {
	if segment == nil {
		return fmt.Errorf("there is no segment %q", o.Path)
	}
	if err := c.grow(o.Workers); err != nil {
		return err
	}
	c.segment, c.sharing, c.now = segment, c.workers[:o.Workers], time.Now()
	// Two, since what is due at a moment depends on the options: t0 has a budget for next to nothing but the status files,
	// t1 one for everything, and no ticks, as a worker's sample reads its status files too.
	c.t0 = memstat.New(memstat.Options{Tick: time.Second, Scan: never, Exact: never, Settle: never, Budget: 0.001})
	c.t1 = memstat.New(memstat.Options{Tick: never, Scan: time.Second, Exact: never, Settle: time.Nanosecond, Budget: 1e6})
	runtime.LockOSThread() // a sampler reckons with the processor time of its thread
	defer runtime.UnlockOSThread()
	exact := func(w *memstat.Worker) bool { return w.Sample.Exact }
	for _, s := range []*memstat.Sampler{c.t0, c.t1} {
		s.Update(targets(segment, c.sharing), segments(segment))
		// The second round reads smaps_rollup again, since workers have joined; rounds end when a tick's time is over.
		for i := 0; i < 3 || i < 100 && !c.every(s.Latest(), exact); i++ {
			c.now = c.now.Add(time.Second)
			s.Round(c.now)
		}
	}
	path := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), segment.FD())
	return c.all(c.sharing, order{Do: "map", Path: path, Bytes: segment.Size(), Kind: o.Kind})
}

// part has them unmap it, and the samplers let go of them.
func (c *crowd) part() error {
	for _, s := range []*memstat.Sampler{c.t0, c.t1} {
		s.Update(nil, nil)
		s.Round(c.now)
	}
	return c.all(c.sharing, order{Do: "unmap"})
}

func targets(segment *held, workers []*hand) []memstat.Target {
	all := make([]memstat.Target, len(workers))
	for i, h := range workers {
		all[i] = memstat.Target{
			Key: memstat.Key{Worker: i, Incarnation: 1}, PID: h.pid, Ready: true,
			Versions: []memstat.SegKey{{Name: segment.Name(), Version: 1}},
		}
	}
	return all
}

func segments(segment *held) []memstat.Segment {
	return []memstat.Segment{{
		SegKey: memstat.SegKey{Name: segment.Name(), Version: 1}, Dev: segment.Dev(), Ino: segment.Ino(),
		Size: segment.Size(), Allocated: segment.Allocated,
	}}
}
