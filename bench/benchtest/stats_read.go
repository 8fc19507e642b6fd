// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

// The ways to learn what workers hold: preforkd's own, and those that people have.

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"time"

	"github.com/prometheus/procfs"
	"github.com/shirou/gopsutil/v3/process"

	"github.com/preforkd/preforkd/internal/memstat"
)

// round reads all workers once in one way, and proves that it was the workers who were read.
func (c *crowd) round(o order) (answer, error) {
	runtime.LockOSThread() // as in share; the others are read from one thread too
	defer runtime.UnlockOSThread()
	switch o.Kind {
	case "t0":
		return c.roundT0()
	case "t1":
		return c.roundT1()
	case "smaps", "smaps_rollup":
		return c.raw(o.Kind)
	case "gopsutil":
		return c.gopsutil()
	case "procfs":
		return c.procfs()
	}
	return nil, fmt.Errorf("cannot read by %q", o.Kind)
}

// roundT0 is a tick that reads the status files of all and nothing else: neither pages nor, by gopsutil, who is there.
func (c *crowd) roundT0() (answer, error) {
	for range 500 { // the sampler spaces ticks and walks by what they cost, and thinks that it may take next to nothing
		before := c.t0.Latest()
		c.now = c.now.Add(time.Second)
		var fleet *memstat.Fleet
		seconds, _ := timed(func() error { fleet = c.t0.Round(c.now); return nil })
		walked := fleet.Self.CPUSeconds != before.Self.CPUSeconds
		if ticked := c.every(fleet, func(w *memstat.Worker) bool { return w.LeastAt.Equal(c.now) }); !ticked || walked {
			continue
		}
		if !c.every(fleet, func(w *memstat.Worker) bool { return w.Sample.At.Before(c.now) }) {
			continue
		}
		return answer{"seconds": seconds}, c.proof(fleet)
	}
	return nil, errors.New("the sampler does not tick")
}

// roundT1 samples all workers: their status files, their pages, and the sweep that counts these.
func (c *crowd) roundT1() (answer, error) {
	c.now = c.now.Add(time.Second)
	scanned := func(w *memstat.Worker) bool { return !w.Sample.At.Before(c.now) }
	var fleet *memstat.Fleet
	seconds, err := timed(func() error {
		fleet = c.t1.Round(c.now)
		// It takes on what the last round took, and stops there if this one takes longer: a moment later it goes on.
		for i := time.Duration(1); !c.every(fleet, scanned); i++ {
			if i > 100 {
				return errors.New("the sampler leaves workers out")
			}
			fleet = c.t1.Round(c.now.Add(i * time.Millisecond))
		}
		return nil
	})
	if err = errors.Join(err, c.proof(fleet)); err != nil {
		return nil, err
	}
	share := int64(0)
	for _, w := range fleet.Workers {
		share += *w.Data[0].PSS
	}
	// Everybody maps all of it, so the shares make up the whole.
	return answer{"seconds": seconds, "longest": fleet.Cost.LongestCall, "work": c.t1.LongestWork().Seconds()}, c.whole(share, 0.001)
}

// every tells whether something holds for every worker, all of which have been sampled.
func (c *crowd) every(fleet *memstat.Fleet, holds func(*memstat.Worker) bool) bool {
	for _, w := range fleet.Workers {
		if w.Sample.At == nil || !holds(w) {
			return false
		}
	}
	return len(fleet.Workers) == len(c.sharing)
}

// proof is nil where every worker was measured with the segment.
func (c *crowd) proof(fleet *memstat.Fleet) error {
	for _, w := range fleet.Workers {
		if w.RSS == nil || *w.RSS < c.segment.Size() || len(w.Data) != 1 || w.Data[0].PSS == nil {
			return fmt.Errorf("worker %v was not measured with its segment: %s", w.PIDs, w.Sample.Error)
		}
	}
	return nil
}

// whole checks a sum of the workers' shares.
func (c *crowd) whole(share int64, tolerance float64) error {
	if off := math.Abs(float64(share)/float64(c.segment.Size()) - 1); off > tolerance {
		return fmt.Errorf("the workers' shares make up %d bytes, the segment has %d", share, c.segment.Size())
	}
	return nil
}

// raw reads a file of each worker to its end and looks at nothing: what the kernel alone takes.
func (c *crowd) raw(name string) (answer, error) {
	buffer := make([]byte, 64<<10)
	seconds, err := timed(func() error {
		for _, h := range c.sharing {
			if err := drain(fmt.Sprintf("/proc/%d/%s", h.pid, name), buffer); err != nil {
				return err
			}
		}
		return nil
	})
	return answer{"seconds": seconds}, err
}

func drain(path string, buffer []byte) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		if _, err := f.Read(buffer); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// gopsutil is its MemoryMaps, grouped: the only way to a PSS that it has. Its figures are in KiB.
func (c *crowd) gopsutil() (answer, error) {
	share := int64(0)
	seconds, err := timed(func() error {
		for _, h := range c.sharing {
			p := &process.Process{Pid: int32(h.pid)}
			maps, err := p.MemoryMaps(true)
			if err != nil {
				return err
			}
			share += int64((*maps)[0].Pss) << 10
		}
		return nil
	})
	return answer{"seconds": seconds}, errors.Join(err, c.atLeast(share))
}

func (c *crowd) procfs() (answer, error) {
	share := int64(0)
	seconds, err := timed(func() error {
		for _, h := range c.sharing {
			p, err := procfs.NewProc(h.pid)
			if err != nil {
				return err
			}
			rollup, err := p.ProcSMapsRollup()
			if err != nil {
				return err
			}
			share += int64(rollup.Pss)
		}
		return nil
	})
	return answer{"seconds": seconds}, errors.Join(err, c.atLeast(share))
}

// atLeast checks a sum of shares that has the workers' own memory in it.
func (c *crowd) atLeast(share int64) error { return c.whole(min(share, c.segment.Size()), 0.001) }
