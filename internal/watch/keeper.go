// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package watch

// This file is the goroutine of a watcher: events, looks and ticks, and what is told.

import (
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

// keeper is what the goroutine owns.
type keeper struct {
	*Watcher
	files  map[string]*file
	notify *fsnotify.Watcher  // nil: not to be had
	lost   chan struct{}      // events are lost, or were never asked for in time
	armed  map[string]node    // directories that it watches
	wanted map[string][]*file // whom an event under this path is about
	poor   bool               // something is not watched
	warned bool               // the log has said so
}

func newKeeper(w *Watcher) *keeper {
	return &keeper{
		Watcher: w, files: map[string]*file{}, lost: make(chan struct{}, 1),
		armed: map[string]node{}, wanted: map[string][]*file{},
	}
}

func (k *keeper) run() {
	defer close(k.ended)
	defer k.disarm()
	poll := time.NewTimer(k.slow)
	defer poll.Stop()
	tick := time.NewTicker(k.settle / restTicks)
	defer tick.Stop()
	tick.Stop()
	for ticking := false; ; {
		var events chan fsnotify.Event
		if k.notify != nil {
			events = k.notify.Events
		}
		select {
		case <-k.done:
			return
		case <-k.wake:
			k.adopt(k.received())
			poll.Reset(k.interval())
		case event := <-events:
			k.event(event)
		case <-k.lost:
			k.arm()
		case <-poll.C:
			k.arm()
			poll.Reset(k.interval())
		case <-tick.C:
			if names := k.tick(); len(names) > 0 && !k.closed() {
				k.changed(names)
			}
		}
		if pending := k.pending(); pending != ticking {
			ticking = pending
			tick.Stop()
			if ticking {
				tick.Reset(k.settle / restTicks)
			}
		}
	}
}

func (k *keeper) interval() time.Duration {
	if k.poor {
		return k.fast
	}
	return k.slow
}

func (k *keeper) closed() bool {
	select {
	case <-k.done:
		return true
	default:
		return false
	}
}

func (k *keeper) pending() bool {
	for _, f := range k.files {
		if f.pending {
			return true
		}
	}
	return false
}

// adopt takes new files over, and keeps what it knows of those that stay.
func (k *keeper) adopt(files map[string]*file) {
	if files == nil {
		return
	}
	keep(files, k.files)
	k.files = files
	k.arm()
}

// event looks where something happened. Unless content was only written, the way to the files may be another.
func (k *keeper) event(e fsnotify.Event) {
	files := k.wanted[e.Name]
	if len(files) == 0 {
		return
	}
	for _, f := range files {
		f.touch()
	}
	if e.Has(fsnotify.Create) || e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename) {
		k.arm()
	}
}

// tick returns the names of the files that changed and rest now. While others are about to rest too it waits for them:
// files that are swapped together shall be loaded together.
func (k *keeper) tick() (names []string) {
	nearly := false
	for _, f := range k.files {
		if !f.pending {
			continue
		}
		if f.tick() {
			names = append(names, f.name)
		}
		nearly = nearly || f.nearly()
		if after := time.Duration(f.restless) * k.settle / restTicks; f.pending && after >= k.restless && !f.warned {
			f.warned = true
			k.log.Warn("file keeps changing, it is loaded again when it rests", "dataset", f.name, "path", f.path,
				"changing_for", after)
		}
	}
	if nearly {
		return nil
	}
	for _, name := range names {
		f := k.files[name]
		f.told = f.seen
		f.settle()
	}
	slices.Sort(names)
	return names
}
