// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package supervisor

// New versions for workers that take them themselves (docs/in-place.md). A reload that names its datasets hands them over one
// worker after the other and replaces only the workers that did not ask for that, or refused.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/preforkd/preforkd/internal/fleet"
	"github.com/preforkd/preforkd/internal/handover"
	"github.com/preforkd/preforkd/internal/ready"
)

// maxTakers bounds the processes of one worker that may take new versions themselves, each with a descriptor of ours.
const maxTakers = 64

// maxDeclined bounds the lines that one worker can have logged about that.
const maxDeclined = 8

// taker is one process of a worker that takes new versions itself.
type taker struct {
	pid     int
	names   []string // of datasets; "*": all
	channel *handover.Channel
}

func (t *taker) takes(name string) bool {
	return slices.Contains(t.names, name) || slices.Contains(t.names, "*")
}

// register notes that a process of a worker takes new versions itself.
func (l *loop) register(w *worker, r ready.Registration) {
	channel, err := handover.New(r.Socket)
	if err != nil {
		l.decline(w, r.PID, err.Error())
		return
	}
	if l.workers[w.id] != w {
		channel.Close()
		return
	}
	if at := slices.IndexFunc(w.takers, func(t *taker) bool { return t.pid == r.PID && r.PID != 0 }); at >= 0 {
		w.drop(w.takers[at]) // it has begun anew
	}
	w.lapsed = slices.DeleteFunc(w.lapsed, func(pid int) bool { return pid == r.PID })
	if len(w.takers) >= maxTakers {
		channel.Close()
		l.decline(w, r.PID, fmt.Sprintf("%d processes of this worker do already", maxTakers))
		w.lapse(r.PID)
		return
	}
	t := &taker{pid: r.PID, names: r.Takes, channel: channel}
	w.takers = append(w.takers, t)
	l.helpers.Go(func() {
		<-channel.Gone()
		l.report(func(l *loop) { l.lapse(w, t, channel.Err()) })
	})
	l.bringUpToDate(w, t)
}

// bringUpToDate hands a process what its worker has taken in place since it was started: the process may know nothing but the
// worker's first versions.
func (l *loop) bringUpToDate(w *worker, t *taker) {
	var names []string
	for i, v := range w.versions {
		if i < len(w.first) && w.first[i] != v && t.takes(v.Name) {
			names = append(names, v.Name)
		}
	}
	if len(names) == 0 {
		return
	}
	l.give(w, []*taker{t}, w.release, names, func(l *loop, err error) {
		if err != nil && l.workers[w.id] == w {
			l.about(w.id).Warn("a process did not take the present data in place", "pid", t.pid, "datasets", names, "error", err)
		}
	})
}

// decline logs once why a process may not: it may go on asking.
func (l *loop) decline(w *worker, pid int, why string) {
	if slices.Contains(w.declined, why) || len(w.declined) >= maxDeclined {
		return
	}
	w.declined = append(w.declined, why)
	l.about(w.id).Warn("a process cannot take new versions itself", "pid", pid, "error", why)
}

// lapse notes that a process does not take new versions any more. If it lives on with what it has, its worker is replaced by the
// next reload.
func (l *loop) lapse(w *worker, t *taker, why error) {
	if !slices.Contains(w.takers, t) { // it was dropped by us
		return
	}
	w.drop(t)
	w.lapse(t.pid)
	if !errors.Is(why, handover.ErrGone) {
		l.decline(w, t.pid, why.Error())
	}
}

// lapse remembers a process that may live on with what it has. One of many is enough to have the worker replaced.
func (w *worker) lapse(pid int) {
	if len(w.lapsed) < maxTakers || !w.lapsedLive() {
		w.lapsed = append(w.lapsed, pid)
	}
}

// lapsedLive tells whether a process lives that has taken new versions and does no more, or could not be let to.
func (w *worker) lapsedLive() bool {
	w.lapsed = slices.DeleteFunc(w.lapsed, func(pid int) bool {
		_, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		return errors.Is(err, os.ErrNotExist) // it is gone, or a zombie
	})
	return len(w.lapsed) > 0
}

func (w *worker) drop(t *taker) {
	t.channel.Close()
	w.takers = slices.DeleteFunc(w.takers, func(other *taker) bool { return other == t })
}

func (w *worker) dropTakers() {
	for _, t := range w.takers {
		t.channel.Close()
	}
	w.takers = nil
}

// takes lists the datasets of which a worker takes new versions itself.
func (w *worker) takes() []string {
	var list []string
	for _, v := range w.versions {
		if slices.ContainsFunc(w.takers, func(t *taker) bool { return t.takes(v.Name) }) {
			list = append(list, v.Name)
		}
	}
	return list
}

// takesAll tells whether a worker takes new versions of all these datasets itself.
func (w *worker) takesAll(names []string) bool {
	takes := w.takes()
	return !w.lapsedLive() && !slices.ContainsFunc(names, func(name string) bool { return !slices.Contains(takes, name) })
}

// handing is a reload's hand-over.
type handing struct {
	waiting []fleet.ID // workers that have their turn to come
	taken   int
	proven  bool // a worker serves with the new versions: what starts from now on gets them too
	last    bool // the roll under way replaces those that did not take them: nothing comes after it
}

// replaceOrHandOver brings the release of the order under way to the workers: by a roll of all, as event says, or, where the
// order is for some datasets only, by handing them over to those workers that take them themselves. The others are
// replaced first: a new process that gets ready is the better proof that the data is good.
func (l *loop) replaceOrHandOver(event fleet.RollOut) {
	o := l.order
	if len(o.names) > 0 {
		o.handing = l.takersOf(o)
	}
	if o.handing == nil {
		l.roll(event)
		return
	}
	var others []int
	for slot := range l.state.Config.Workers {
		if !slices.ContainsFunc(o.handing.waiting, func(id fleet.ID) bool { return id.Slot == slot }) {
			others = append(others, slot)
		}
	}
	if len(others) == 0 {
		l.handOn(o)
		return
	}
	o.handing.proven = true // once that roll has ended well
	event.Slots = others
	l.roll(event)
}

// takersOf returns the hand-over to the workers that take all that is new in an order; nil when there are none.
func (l *loop) takersOf(o *order) *handing {
	var h handing
	for slot := range l.state.Config.Workers {
		for _, w := range l.state.Slots[slot].Workers {
			live := l.workers[w.ID]
			if w.Phase != fleet.WorkerReady || l.state.Replacing(w) != fleet.ReasonNone || live == nil {
				continue
			}
			if live.takesAll(o.fresh) {
				h.waiting = append(h.waiting, w.ID)
			}
		}
	}
	if len(h.waiting) == 0 {
		return nil
	}
	return &h
}

// handOn lets the next worker take the new versions; after the last one it sees to those that have not.
func (l *loop) handOn(o *order) {
	h := o.handing
	if h.last {
		l.handed(o)
		return
	}
	for len(h.waiting) > 0 {
		id := h.waiting[0]
		h.waiting = h.waiting[1:]
		state, alive := l.state.Worker(id)
		if w := l.workers[id]; alive && w != nil && state.Phase == fleet.WorkerReady && w.takesAll(o.fresh) {
			l.handTo(o, w)
			return
		}
	}
	h.last = true
	if behind := l.behind(o); len(behind) > 0 {
		l.roll(fleet.RollOut{Reason: fleet.ReasonReload, Slots: behind})
		return
	}
	l.handed(o)
}

// behind lists the slots whose worker has not all versions of an order's release: it refused, or was started meanwhile.
func (l *loop) behind(o *order) []int {
	var slots []int
	for slot := range l.state.Config.Workers {
		old := !o.handing.proven
		for _, w := range l.state.Slots[slot].Workers {
			live := l.workers[w.ID]
			old = old || w.Phase != fleet.WorkerStopping && live != nil && !slices.Equal(live.versions, o.release.versions)
		}
		if old {
			slots = append(slots, slot)
		}
	}
	return slots
}

// handTo hands the new versions to one worker, to each of its processes that takes them.
func (l *loop) handTo(o *order, w *worker) {
	l.give(w, w.takers, o.release, o.fresh, func(l *loop, err error) { l.answered(o, w, err) })
}

// give offers the versions that a release has of the datasets names to processes of a worker, and has then called on the loop with
// what came of it: nil when each of them took those that it takes.
func (l *loop) give(w *worker, takers []*taker, from *release, names []string, then func(*loop, error)) {
	type gift struct {
		channel *handover.Channel
		offer   handover.Offer
	}
	var gifts []gift
	var failed error
	l.offers++
	for _, t := range takers {
		if failed == nil {
			var g gift
			g.channel = t.channel
			g.offer, failed = l.offer(w, t, from, names)
			gifts = append(gifts, g)
		}
	}
	ctx, cancel := context.WithTimeout(l.ctx, w.release.config.StartTimeout)
	l.helpers.Go(func() {
		defer cancel()
		for _, g := range gifts {
			if failed == nil && len(g.offer.Files) > 0 {
				failed = g.channel.Give(ctx, g.offer)
			}
			for _, file := range g.offer.Files {
				file.Close()
			}
		}
		l.report(func(l *loop) { then(l, failed) })
	})
}

// offer is what one process of a worker is told of a release's versions. The caller closes the files.
func (l *loop) offer(w *worker, t *taker, from *release, names []string) (handover.Offer, error) {
	offer := handover.Offer{Number: l.offers, Manifest: map[string]json.RawMessage{}}
	plan := l.plan(w.id, from)
	for i, v := range from.versions {
		if !slices.Contains(names, v.Name) || !t.takes(v.Name) {
			continue
		}
		manifest, err := plan.Manifest(i, v.pathFor(w))
		if err != nil {
			return offer, err
		}
		file, err := v.Open()
		if err != nil {
			return offer, err
		}
		offer.Names, offer.Files = append(offer.Names, v.Name), append(offer.Files, file)
		offer.Manifest[v.Name] = manifest
	}
	return offer, nil
}

// pathFor is the path by which a worker that runs already may open a version.
func (v *version) pathFor(w *worker) string {
	if u := w.release.config.User; len(v.paths) > 0 && (u == nil || u.UID == os.Geteuid() || v.Direct()) {
		return v.paths[0]
	}
	return v.target
}

// answered goes on after a worker's answer. It has the new versions if all of its processes that asked for them took them.
func (l *loop) answered(o *order, w *worker, err error) {
	alive := l.workers[w.id] == w
	if err == nil && alive {
		for _, v := range w.versions {
			if !slices.Contains(o.release.versions, v) {
				w.held = append(w.held, v)
			}
		}
		w.release, w.versions, l.roster = o.release, o.release.versions, true
		l.about(w.id).Info("worker took new data in place", "datasets", o.fresh)
		l.noteWorker(w, EventTook, "took new data in place", false)
	} else if alive {
		l.about(w.id).Warn("worker did not take new data in place and is to be replaced", "datasets", o.fresh, "error", err)
		l.noteWorker(w, EventTook, "did not take new data in place and is to be replaced: "+err.Error(), true)
	}
	if l.order != o { // a stop has answered it
		return
	}
	if err == nil && alive {
		o.handing.taken++
		if !o.handing.proven {
			o.handing.proven = true
			l.roll(fleet.RollOut{Reason: fleet.ReasonReload, Slots: []int{}}) // ends at once: only what is started from now on changes
			return
		}
	}
	l.handOn(o)
	l.publish()
}

const (
	// heldPatience is how long a reload waits for workers to let go of what they have replaced in place.
	heldPatience = 3 * time.Second
	heldPoll     = 20 * time.Millisecond
)

// handed ends an order whose new versions have been handed over, when the old ones are free or after heldPatience.
func (l *loop) handed(o *order) {
	begun := time.Now()
	var look func(*loop)
	look = func(l *loop) {
		if l.order != o {
			return
		}
		l.lookAtHeld()
		held := l.held()
		if len(held) > 0 && time.Since(begun) < heldPatience {
			time.AfterFunc(heldPoll, func() { l.post(look) })
			return
		}
		o.said = append(o.said, held...)
		l.end(o.sentence(l.state.Config.Workers-o.handing.taken), nil)
	}
	look(l)
}

// held says who still has an older version of what it has taken in place.
func (l *loop) held() []string {
	var said []string
	for slot := range l.state.Config.Workers {
		for _, state := range l.state.Slots[slot].Workers {
			if w := l.workers[state.ID]; w != nil {
				for _, v := range w.held {
					said = append(said, fmt.Sprintf("worker %d still holds version %d of %s", slot, v.number, v.Name))
				}
			}
		}
	}
	return said
}
