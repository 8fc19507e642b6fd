// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// pace is how often and how long. Tests have another.
type pace struct {
	settle   time.Duration // without change: at rest
	slow     time.Duration // between looks at everything
	fast     time.Duration // the same where inotify is not to be had
	restless time.Duration // until the log says that a file does not rest
	leave    time.Duration // the longest that Close waits
}

// Watcher watches a set of files. One goroutine of its own owns all but the inbox.
type Watcher struct {
	pace
	log     *slog.Logger
	changed func(names []string)

	done  chan struct{} // closed: to end
	ended chan struct{}
	once  sync.Once
	wake  chan struct{} // there is something in the inbox
	mu    sync.Mutex
	inbox map[string]*file // nil: nothing new
}

// Start watches nothing yet. changed is called with the names of files, sorted, from one goroutine: no other call comes
// before it returns, and what happens meanwhile is not lost. A nil log is discarded.
func Start(log *slog.Logger, settle time.Duration, changed func(names []string)) (*Watcher, error) {
	return start(log, pace{
		settle: settle, slow: 10 * time.Second, fast: 2 * time.Second, restless: time.Minute, leave: 100 * time.Millisecond,
	}, changed)
}

func start(log *slog.Logger, p pace, changed func(names []string)) (*Watcher, error) {
	if p.settle < time.Millisecond || changed == nil {
		return nil, errors.New("cannot watch files: the settle time is shorter than a millisecond, or nobody is to be told")
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	w := &Watcher{
		pace: p, log: log, changed: changed,
		done: make(chan struct{}), ended: make(chan struct{}), wake: make(chan struct{}, 1),
	}
	go newKeeper(w).run()
	return w, nil
}

// Set replaces the files that are watched, by name. They count as known in the state that they have now; those that
// were watched already, by the same name and path, in the state that they had. Relative paths start in the present
// working directory. It may be called at any time, also by changed.
func (w *Watcher) Set(paths map[string]string) {
	files := make(map[string]*file, len(paths))
	for name, path := range paths {
		if !filepath.IsAbs(path) {
			// Not filepath.Abs: "link/.." is not what it seems.
			if dir, err := os.Getwd(); err == nil {
				path = dir + "/" + path
			}
		}
		now := identify(path)
		files[name] = &file{name: name, path: path, told: now, seen: now}
	}
	w.mu.Lock()
	keep(files, w.inbox)
	w.inbox = files
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// keep puts what was known before into files where name and path are the same.
func keep(files, known map[string]*file) {
	for name, f := range files {
		if had := known[name]; had != nil && had.path == f.path {
			files[name] = had
		}
	}
}

// received is what Set has brought since the last time, or nil.
func (w *Watcher) received() map[string]*file {
	w.mu.Lock()
	defer w.mu.Unlock()
	files := w.inbox
	w.inbox = nil
	return files
}

// Close ends it: changed is not called any more. A call that is under way, or a file system that does not answer, is
// waited for a moment only.
func (w *Watcher) Close() {
	w.once.Do(func() { close(w.done) })
	patience := time.NewTimer(w.leave)
	defer patience.Stop()
	select {
	case <-w.ended:
	case <-patience.C:
	}
}
