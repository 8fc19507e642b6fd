// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package supervisor

// The datasets: loaded beside the loop, published as links, kept as long as a worker may use them.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/preforkd/preforkd/internal/contract"
	"github.com/preforkd/preforkd/internal/dataset"
	"github.com/preforkd/preforkd/internal/fleet"
	"github.com/preforkd/preforkd/internal/host"
	"github.com/preforkd/preforkd/internal/memstat"
	"github.com/preforkd/preforkd/internal/process"
)

// version is one load of a dataset.
type version struct {
	*dataset.Loaded
	number int
	link   string   // its own name in the run dir; empty without one
	paths  []string // what a worker may try, best first
}

// loadResult is what the loader came to.
type loadResult struct {
	loaded []*dataset.Loaded
	err    error
}

// loadState is the progress of one dataset's load, written by the loader.
type loadState struct {
	spec          dataset.Spec
	loaded, total atomic.Int64 // bytes; total is -1 while unknown
}

// startLoading loads everything beside the loop, which gets the result when all that the loader started is gone.
func (l *loop) startLoading() <-chan loadResult {
	ctx, cancel := context.WithCancel(l.ctx)
	l.abort = cancel
	progress := make(map[string]*loadState, len(l.config.data))
	for _, spec := range l.config.data {
		state := &loadState{spec: spec}
		state.total.Store(-1)
		progress[spec.Name] = state
		l.loading = append(l.loading, state)
	}
	loader := &dataset.Loader{
		Start: l.startProducer, Stdin: l.config.Stdin, Log: l.config.Log,
		Free: func() (host.Headroom, error) { return (host.Host{}).Free() },
		OnProgress: func(name string, loaded, total int64) {
			progress[name].loaded.Store(loaded)
			progress[name].total.Store(total)
		},
	}
	done := make(chan loadResult, 1)
	go func() {
		defer cancel()
		loaded, err := loader.Load(ctx, l.config.data)
		done <- loadResult{loaded, err}
	}()
	return done
}

// stopLoading gives up a load that is under way; afterwards it does nothing.
func (l *loop) stopLoading() {
	if l.abort != nil {
		l.abort()
	}
}

func (l *loop) dataLoaded(result loadResult) {
	l.loading, l.roster = nil, true
	if result.err != nil {
		if !errors.Is(result.err, context.Canceled) {
			l.failed = fail(KindData, result.err)
		}
		l.step(fleet.Stop{})
		return
	}
	for i, d := range result.loaded {
		v := &version{Loaded: d, number: 1}
		l.link(v, i)
		l.versions = append(l.versions, v)
	}
	l.step(fleet.Boot{}) // does nothing when a stop came first
}

// newest returns the newest version of each dataset in --data order, nil for one that is not loaded yet.
func (l *loop) newest() []*version {
	list := make([]*version, len(l.config.data))
	for i, spec := range l.config.data {
		for _, v := range l.versions { // oldest first: the last one stays
			if v.Name == spec.Name {
				list[i] = v
			}
		}
	}
	return list
}

// link publishes a version in the run dir and decides which paths a worker may try. A path through the supervisor works in
// the worker's own children too, but only for the same user: another may not look into our /proc/PID/fd.
func (l *loop) link(v *version, index int) {
	plan := contract.Plan{Sockets: make([]contract.Socket, len(l.sockets.Sockets))}
	target := "/proc/" + strconv.Itoa(os.Getpid()) + "/fd/" + strconv.Itoa(v.Segment.FD())
	v.paths = []string{target}
	if u := l.config.User; u != nil && u.UID != os.Geteuid() {
		target = "/proc/self/fd/" + strconv.Itoa(plan.DataFD(index))
		v.paths = nil
	}
	if l.config.RunDir == nil {
		return
	}
	link := v.Name + ".v" + strconv.Itoa(v.number) + v.Ext
	err := l.config.RunDir.SetLink(link, target)
	if err == nil {
		v.link = link
		v.paths = append([]string{l.config.RunDir.DataPath(link)}, v.paths...)
		err = l.config.RunDir.SetLink(v.newestLink(), target)
	}
	if err != nil {
		l.config.Log.Warn("workers may get a dataset by descriptor only", "dataset", v.Name, "error", err)
	}
}

// newestLink is the name that always leads to the newest version.
func (v *version) newestLink() string { return v.Name + v.Ext }

// closeData gives everything up. Links go before their descriptor is closed: its number may be used again at once.
func (l *loop) closeData() {
	for _, v := range l.versions {
		if v.link != "" {
			if err := errors.Join(l.config.RunDir.RemoveLink(v.link), l.config.RunDir.RemoveLink(v.newestLink())); err != nil {
				l.config.Log.Warn("a link is left behind", "error", err)
			}
		}
		v.Segment.Close()
	}
	l.versions, l.roster = nil, true
	l.publish()
}

// startProducer runs the command of a cmd: source. The loader calls it from its own goroutine; the loop's thread forks.
func (l *loop) startProducer(ctx context.Context, command string) (dataset.Producer, error) {
	type answer struct {
		producer *process.Producer
		err      error
	}
	answers := make(chan answer, 1)
	l.post(func(l *loop) {
		if ctx.Err() != nil {
			answers <- answer{err: ctx.Err()}
			return
		}
		var log io.Writer = os.Stderr
		if l.config.WorkerLog != nil {
			log = l.config.WorkerLog
		}
		var producer *process.Producer
		reaped := func() { l.post(func(l *loop) { l.reaped(producer.Process) }) }
		producer, err := process.StartProducer(command, "", contract.BaseEnv(l.config.Environ), log, reaped)
		if err == nil {
			l.keep(producer.Process)
		}
		answers <- answer{producer, err}
	})
	select {
	case a := <-answers:
		if a.err != nil {
			return nil, fmt.Errorf("start /bin/sh: %w", a.err)
		}
		return a.producer, nil
	case <-l.done:
		return nil, context.Canceled
	}
}

// segments is what the sampler must know of the live versions.
func (l *loop) segments() []memstat.Segment {
	var list []memstat.Segment
	for _, v := range l.versions {
		list = append(list, memstat.Segment{
			SegKey: memstat.SegKey{Name: v.Name, Version: v.number},
			Dev:    v.Segment.Dev(), Ino: v.Segment.Ino(), Size: v.Segment.Size(), Allocated: v.Segment.Allocated,
		})
	}
	return list
}

// seconds is a duration as the stats write it, to the microsecond.
func seconds(d time.Duration) float64 { return d.Round(time.Microsecond).Seconds() }
