// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package supervisor

// Datasets are loaded beside the loop; it gets the result when all that the loader started is gone.

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/preforkd/preforkd/internal/contract"
	"github.com/preforkd/preforkd/internal/dataset"
	"github.com/preforkd/preforkd/internal/fleet"
	"github.com/preforkd/preforkd/internal/host"
	"github.com/preforkd/preforkd/internal/process"
)

// load is one load under way, of one or several datasets.
type load struct {
	progress []*loadState
	abort    context.CancelFunc
	result   chan loadResult
	then     func(loadResult) // what the loop does with the result
}

// loadResult is what the loader came to: the datasets in the order they were asked for, or an error.
type loadResult struct {
	loaded []*dataset.Loaded
	err    error
}

// loadState is the progress of one dataset's load, written by the loader.
type loadState struct {
	spec     dataset.Spec
	progress atomic.Pointer[dataset.Progress]
}

// startLoading begins to load specs; then is called on the loop with the result. One load runs at a time.
func (l *loop) startLoading(specs []dataset.Spec, then func(loadResult)) {
	ctx, cancel := context.WithCancel(l.ctx)
	l.load = &load{abort: cancel, result: make(chan loadResult, 1), then: then}
	progress := make(map[string]*loadState, len(specs))
	for _, spec := range specs {
		state := &loadState{spec: spec}
		state.progress.Store(&dataset.Progress{Size: -1, Total: -1})
		progress[spec.Name] = state
		l.load.progress = append(l.load.progress, state)
	}
	reserve := l.reserve()
	var onLoaded func(*dataset.Loaded)
	if l.state.Phase == fleet.Idle { // later it is told when it is known to be new
		onLoaded = func(d *dataset.Loaded) { d.Log(l.config.Log, 1) }
	}
	loader := &dataset.Loader{
		Start: l.startProducer, Stdin: l.config.Stdin, Log: l.config.Log,
		Have: l.serving().like(specs),
		Free: func() (host.Headroom, error) {
			room, err := (host.Host{}).Free()
			room.Free = max(0, room.Free-reserve)
			return room, err
		},
		OnLoaded:   onLoaded,
		OnProgress: func(name string, p dataset.Progress) { progress[name].progress.Store(&p) },
	}
	result := l.load.result
	go func() {
		defer cancel()
		loaded, err := loader.Load(ctx, specs)
		result <- loadResult{loaded, err}
	}()
}

// reserve is the memory that the roll after a load will need beside the data: a new worker for each one beyond the slots.
func (l *loop) reserve() int64 {
	var largest int64
	for _, w := range l.sampler.Latest().Workers {
		if w.Private != nil {
			largest = max(largest, *w.Private)
		}
	}
	return largest * int64(*l.present().Surge)
}

// loaded is the channel that a load's result comes on, nil without one.
func (l *loop) loaded() <-chan loadResult {
	if l.load == nil {
		return nil
	}
	return l.load.result
}

func (l *loop) dataLoaded(result loadResult) {
	load := l.load
	l.load, l.roster = nil, true
	load.then(result)
	l.publish()
}

// stopLoading gives up a load that is under way.
func (l *loop) stopLoading() {
	if l.load != nil {
		l.load.abort()
	}
}

// toLoad returns which of a configuration's datasets must be loaded, given those that serve. Unchanged is told by the file's
// identity; what comes from a command must be run to be known, and what came by standard input cannot come again.
// Only those in names are looked at, all without names.
func toLoad(config *parsed, serving *release, names []string) []dataset.Spec {
	var list []dataset.Spec
	for _, spec := range config.data {
		have := serving.version(spec.Name)
		if have == nil || !serving.sameMade(spec) {
			list = append(list, spec)
			continue
		}
		if len(names) > 0 && !slices.Contains(names, spec.Name) || !spec.Again() {
			continue
		}
		if now, ok := spec.Identity(); !ok || now != have.Identity {
			list = append(list, spec)
		}
	}
	return list
}

// sameMade tells whether this release has a dataset from the same source, made in the same way.
func (r *release) sameMade(spec dataset.Spec) bool {
	old, ok := r.spec(spec.Name)
	return ok && spec.Equal(old)
}

// spec returns how this release's configuration has a dataset.
func (r *release) spec(name string) (dataset.Spec, bool) {
	at := slices.IndexFunc(r.config.data, func(s dataset.Spec) bool { return s.Name == name })
	if at < 0 {
		return dataset.Spec{}, false
	}
	return r.config.data[at], true
}

// like returns which of this release's versions a load of specs may find to be the same as what it would make: those from
// the same source, since the stats name it.
func (r *release) like(specs []dataset.Spec) map[string]*dataset.Loaded {
	have := map[string]*dataset.Loaded{}
	for _, spec := range specs {
		if v := r.version(spec.Name); v != nil && v.Source == spec.Source {
			known := *v.Loaded
			known.Spec, _ = r.spec(spec.Name) // options may have changed since, and the content not
			have[spec.Name] = &known
		}
	}
	return have
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
			l.keep(producer.Process, noSlot)
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

// seconds is a duration as the stats write it, to the microsecond.
func seconds(d time.Duration) float64 { return d.Round(time.Microsecond).Seconds() }
