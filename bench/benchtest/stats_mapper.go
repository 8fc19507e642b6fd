// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

// The workers of bench/stats.sh, from within.

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// mapper maps a segment on order, and otherwise sleeps.
type mapper struct{ mapped area }

func (m *mapper) do(o order) (answer, error) {
	switch o.Do {
	case "wait":
		return nil, nil
	case "map":
		return nil, m.attach(o)
	case "unmap":
		return nil, m.mapped.unmap()
	case "stall":
		return stalls(o)
	}
	return nil, fmt.Errorf("cannot do %q", o.Do)
}

// attach maps all of a segment as a worker does, and has the kernel populate it.
func (m *mapper) attach(o order) error {
	f, err := os.Open(o.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	m.mapped, err = mapWhole(int(f.Fd()), o.Bytes, o.Kind == "aligned")
	return err
}

func mapWhole(fd int, size int64, aligned bool) (a area, err error) {
	if aligned {
		a, err = mapAligned(fd, size, unix.PROT_READ, unix.MAP_SHARED)
	} else {
		a, err = mapPlain(fd, size, unix.PROT_READ, unix.MAP_SHARED)
	}
	if err != nil {
		return a, err
	}
	return a, unix.Madvise(a.data, unix.MADV_POPULATE_READ)
}

// stallPause is between two operations, so that they are spread over the time: without it those that wait for somebody
// would be lost among the many made while nobody is there.
const stallPause = 200 * time.Microsecond

// stalls maps, touches and unmaps a page over and over, and tells how long that took.
func stalls(o order) (answer, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	took := make([]float64, 0, int(o.Seconds*float64(time.Second/stallPause)))
	rest := unix.NsecToTimespec(int64(stallPause))
	for end := now() + o.Seconds; now() < end; {
		began := now()
		p, err := unix.MmapPtr(-1, 0, nil, smallPage, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			return nil, err
		}
		*(*byte)(p) = 1
		if err := unix.MunmapPtr(p, smallPage); err != nil {
			return nil, err
		}
		took = append(took, now()-began)
		_ = unix.Nanosleep(&rest, nil) // a signal may cut it short
	}
	return latencies(took), nil
}

// latencies sums up how long things took.
func latencies(took []float64) answer {
	slices.Sort(took)
	n := len(took)
	return answer{"count": n, "p50": took[n/2], "p99": took[n*99/100], "longest": took[n-1]}
}

// hold maps the dataset emb, whole, and sleeps until it is told to stop: a worker that is nothing but memory.
func hold() error {
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	fd, err := strconv.Atoi(os.Getenv("PREFORKD_DATA_EMB_FD"))
	if err != nil {
		return fmt.Errorf("cannot hold anything without preforkd: PREFORKD_DATA_EMB_FD: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if _, err := mapWhole(fd, st.Size, false); err != nil {
		return err
	}
	<-terminated
	return nil
}
