// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package supervisor

// --watch: a dataset whose file has changed is loaded again as if somebody had asked for it by name.

import (
	"slices"
	"sync"
	"time"

	"github.com/preforkd/preforkd/internal/dataset"
	"github.com/preforkd/preforkd/internal/fleet"
	"github.com/preforkd/preforkd/internal/watch"
)

// settleTime is how long a changed file must rest before it counts as complete.
const settleTime = 500 * time.Millisecond

// watch makes what is watched follow the configuration that serves. It is called when that has changed.
func (l *loop) watch() {
	if !l.state.Active() {
		return
	}
	serving := l.serving()
	if !serving.config.Watch {
		l.stopWatching()
		return
	}
	if l.watcher == nil {
		watcher, err := watch.Start(l.config.Log, settleTime, func(names []string) {
			l.post(func(l *loop) { l.sourcesChanged(names) })
		})
		if err != nil {
			l.config.Log.Warn("cannot watch the files of datasets: changes must be told by preforkd reload", "error", err)
			return
		}
		l.watcher, l.watched = watcher, map[string]string{}
	}
	l.watchTurn++
	turn, turns, watcher, specs, before := l.watchTurn, &l.watchTurns, l.watcher, serving.config.data, l.watched
	loaded := map[string]dataset.Identity{}
	for _, v := range serving.versions {
		loaded[v.Name] = v.Identity
	}
	go func() { // beside the loop, and not waited for at its end: a file system may be slow, or hang
		files, fresh := map[string]string{}, []dataset.Spec{}
		for _, spec := range specs {
			if file := spec.File(); file != "" {
				files[spec.Name] = file
				if before[spec.Name] != file {
					fresh = append(fresh, spec)
				}
			}
		}
		if !turns.take(turn) { // a later configuration was faster
			return
		}
		watcher.Set(files)
		if len(files) == 0 {
			l.config.Log.Warn("there is nothing to watch: no dataset comes from a file")
		}
		l.report(func(l *loop) { l.watched = files })
		if changed := l.changedSince(fresh, loaded); len(changed) > 0 {
			l.report(func(l *loop) { l.sourcesChanged(changed) })
		}
	}()
}

// changedSince returns which datasets have another file than was loaded, and one that rests: what the watcher cannot know, since
// it was before it began.
func (l *loop) changedSince(specs []dataset.Spec, loaded map[string]dataset.Identity) []string {
	now := map[string]dataset.Identity{}
	for _, spec := range specs {
		if id, ok := spec.Identity(); ok && id != loaded[spec.Name] {
			now[spec.Name] = id
		}
	}
	if len(now) == 0 {
		return nil
	}
	select {
	case <-time.After(settleTime):
	case <-l.ctx.Done():
		return nil
	}
	var changed []string
	for _, spec := range specs {
		if id, ok := spec.Identity(); ok && now[spec.Name] == id {
			changed = append(changed, spec.Name)
		}
	}
	return changed
}

// turns keeps the later of two configurations from being overtaken by the earlier one.
type turns struct {
	mu   sync.Mutex
	last int
}

func (t *turns) take(turn int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if turn < t.last {
		return false
	}
	t.last = turn
	return true
}

func (l *loop) stopWatching() {
	if l.watcher != nil {
		l.watcher.Close()
		l.watcher = nil
	}
}

// sourcesChanged orders a reload of datasets that were seen to change. What comes of it is told by the log and the stats.
func (l *loop) sourcesChanged(names []string) {
	if !l.state.Active() {
		return
	}
	l.config.Log.Info("files have changed", "datasets", names)
	for _, o := range l.orders {
		if o.watched { // it waits, and nobody else for it
			o.names = slices.Compact(slices.Sorted(slices.Values(append(o.names, names...))))
			return
		}
	}
	// Not by take: what was seen must not be lost because many others wait.
	l.orders = append(l.orders, &order{kind: fleet.ReasonReload, names: names, watched: true, done: make(chan struct{})})
}
