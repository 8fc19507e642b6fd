// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package supervisor

// --watch: a dataset whose file has changed is loaded again as if somebody had asked for it by name.

import (
	"slices"
	"time"

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
	files := map[string]string{}
	for _, spec := range serving.config.data {
		if file := spec.File(); file != "" {
			files[spec.Name] = file
		}
	}
	if l.watcher == nil {
		watcher, err := watch.Start(l.config.Log, settleTime, func(names []string) {
			l.post(func(l *loop) { l.sourcesChanged(names) })
		})
		if err != nil {
			l.config.Log.Warn("cannot watch the files of datasets: changes must be told by preforkd reload", "error", err)
			return
		}
		l.watcher = watcher
	}
	l.watcher.Set(files)
	var changed []string // between the load and now
	for _, v := range serving.versions {
		if now, ok := v.Spec.Identity(); ok && now != v.Identity && files[v.Name] != "" {
			changed = append(changed, v.Name)
		}
	}
	if len(changed) > 0 {
		l.sourcesChanged(changed)
	}
}

func (l *loop) stopWatching() {
	if l.watcher != nil {
		l.watcher.Close()
		l.watcher = nil
	}
}

// sourcesChanged orders a reload of datasets that were seen to change. What comes of it is told by the log and the stats.
func (l *loop) sourcesChanged(names []string) {
	l.config.Log.Info("files have changed", "datasets", names)
	for _, o := range l.orders {
		if o.kind == fleet.ReasonReload && slices.Equal(o.names, names) { // it waits, and will see this change too
			return
		}
	}
	l.take(&order{kind: fleet.ReasonReload, names: names, done: make(chan struct{})})
}
