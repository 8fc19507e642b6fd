// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package supervisor

// Changes that somebody asks of a running fleet. They are done one after the other: a second one waits for its turn.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/preforkd/preforkd/internal/fleet"
)

// order is a reload or restart: asked for, under way or answered.
type order struct {
	kind    fleet.Reason           // ReasonReload or ReasonRestart
	names   []string               // of datasets; nil: all
	watched bool                   // their files were seen to change
	renew   func() (Config, error) // reads the configuration again; nil: it stays
	ids     []int                  // slots to restart; nil: all

	begun   time.Time
	release *release // what the workers are to be started from
	fresh   []string // datasets that have a new version in it
	handing *handing // of these, to workers that take them in place; nil: all workers are replaced
	said    []string // what came of it so far, in sentences
	nothing bool     // nothing had changed
	unknown bool     // it names what is not there: no reload

	done chan struct{} // closed when it is answered
	text string
	err  error
}

// maxOrders bounds what may wait.
const maxOrders = 16

// maxWorkers keeps a slip of the finger from filling the process table.
const maxWorkers = 4096

// Reload loads again what has changed of the datasets, all or those named, and replaces workers by ones that have it. Without
// names it always replaces them, so that new code is picked up too; then renew, if not nil, is called when the reload begins
// and returns the configuration from now on. With names it replaces them only if one of these datasets has a new version.
//
// It returns when the last old worker is gone and what only it used is freed, with a sentence on what was done; or an *Error:
// then the old data and the old workers serve on. Another order that is under way is waited for. The end of ctx ends only
// the waiting.
func (s *Supervisor) Reload(ctx context.Context, renew func() (Config, error), names ...string) (string, error) {
	return s.give(ctx, &order{kind: fleet.ReasonReload, renew: renew, names: names, done: make(chan struct{})})
}

// Restart replaces the workers of the slots ids, or of all, by new ones with the same data. It returns as Reload does.
func (s *Supervisor) Restart(ctx context.Context, ids ...int) (string, error) {
	var slots []int // nil without any: all
	if len(ids) > 0 {
		slots = slices.Compact(slices.Sorted(slices.Values(ids)))
	}
	return s.give(ctx, &order{kind: fleet.ReasonRestart, ids: slots, done: make(chan struct{})})
}

func (s *Supervisor) give(ctx context.Context, o *order) (string, error) {
	taken := make(chan *order, 1)
	s.post(func(l *loop) { taken <- l.take(o) })
	for {
		select {
		case o = <-taken:
		case <-o.done:
			return o.text, o.err
		case <-ctx.Done():
			return "", ctx.Err()
		case <-s.done:
			return "", o.refused(errStopping)
		}
	}
}

// title is how people are told of it.
func (o *order) title() string {
	text := o.kind.String()
	if len(o.names) > 0 {
		text += " of " + strings.Join(o.names, ", ")
	}
	if o.watched {
		text += ", whose files have changed,"
	}
	return text
}

var errStopping = errors.New("the fleet is stopping")

// refused is an error that says that nothing was changed.
func (o *order) refused(why error) error {
	return fail(KindFleet, fmt.Errorf("cannot %v: %w", o.kind, why))
}

// take puts an order in its place and returns the one that will do it: a reload of everything that waits already does for
// another one too.
func (l *loop) take(o *order) *order {
	everything := func(o *order) bool { return o.kind == fleet.ReasonReload && len(o.names) == 0 }
	if i := slices.IndexFunc(l.orders, everything); i >= 0 && everything(o) {
		return l.orders[i]
	}
	switch {
	case l.state.Phase == fleet.Stopping || l.state.Phase == fleet.Stopped:
		l.refuse(o, errStopping)
	case len(l.orders) >= maxOrders:
		l.refuse(o, fmt.Errorf("%d orders wait already", maxOrders))
	default:
		l.orders = append(l.orders, o)
	}
	return o
}

func (l *loop) refuse(o *order, why error) {
	err := o.refused(why)
	l.config.Log.Warn("order refused", "order", o.kind.String(), "error", err)
	l.answer(o, "", err)
}

// answer answers an order, when what it has made free is free.
func (l *loop) answer(o *order, text string, err error) {
	o.text, o.err = text, err
	if l.closing > 0 {
		l.unanswered = append(l.unanswered, o)
		return
	}
	close(o.done)
}

// nextOrder begins the order that waits longest, if none is under way and the fleet runs. The loop calls it after each
// piece of news.
func (l *loop) nextOrder() {
	if l.state.Phase == fleet.Stopping || l.state.Phase == fleet.Stopped {
		l.stopLoading()
		for _, o := range append(l.orders, l.order) {
			if o != nil {
				l.refuse(o, errStopping)
			}
		}
		l.order, l.orders = nil, nil
		return
	}
	if l.order != nil || len(l.orders) == 0 || l.state.Phase == fleet.Idle {
		return
	}
	o := l.orders[0]
	l.order, l.orders = o, l.orders[1:]
	o.begun = time.Now()
	l.note(EventBegun, o.title()+" begun")
	if o.kind == fleet.ReasonReload {
		l.reload(o)
	} else {
		l.restart(o)
	}
	l.publish()
}

// end answers the order under way.
func (l *loop) end(text string, err error) {
	o := l.order
	if o == nil {
		return
	}
	l.order = nil
	l.collect()
	if o.kind == fleet.ReasonReload && !o.unknown {
		l.noteReload(o, err)
	}
	if err != nil {
		l.config.Log.Error("order failed", "order", o.kind.String(), "error", err)
		l.note(EventFailed, err.Error())
	} else {
		l.config.Log.Info("order done", "order", o.kind.String(), "result", text, "took", roundedTime(time.Since(o.begun)))
		l.note(EventDone, o.title()+" done after "+roundedTime(time.Since(o.begun))+": "+text)
	}
	l.publish() // who gets the answer finds it in the snapshot too
	l.answer(o, text, err)
	if o.kind == fleet.ReasonReload && err == nil {
		l.watch()
	}
}

func (l *loop) restart(o *order) {
	for _, id := range o.ids {
		if id < 0 || id >= l.state.Config.Workers {
			l.end("", fail(KindConfig, fmt.Errorf("cannot restart worker %d: there are workers 0 to %d", id, l.state.Config.Workers-1)))
			return
		}
	}
	o.release = l.serving()
	l.roll(fleet.RollOut{Reason: fleet.ReasonRestart, Slots: o.ids})
}

// roll lets the fleet begin the roll of the order under way.
func (l *loop) roll(event fleet.RollOut) {
	before := l.state.Epochs
	l.stepThen(event, func() {
		if l.state.Epochs > before {
			l.releases[l.state.Epochs] = l.order.release
		}
	})
}

// rollEnded is the fleet's answer.
func (l *loop) rollEnded(action fleet.RollEnded) {
	target := l.releases[action.Epoch]
	l.releases = map[int]*release{action.Epoch: target}
	l.publishNewest(target)
	l.collect()
	o := l.order
	if o == nil {
		return
	}
	switch {
	case action.Result == fleet.Done && o.handing != nil:
		l.handOn(o)
		return
	case action.Result == fleet.Done:
		l.end(o.sentence(l.state.Config.Workers), nil)
		return
	case !l.state.Active(): // the fleet's own end tells the last words
		l.end("", fail(KindFleet, fmt.Errorf("cannot %v: %s", o.kind, action.Reason)))
		return
	}
	detail := l.endOf(action.Last)
	go func() { // last words may take a moment to come
		text := fmt.Sprintf("cannot %v: %s%s", o.kind, action.Reason, detail())
		l.post(func(l *loop) {
			if l.order == o {
				l.end("", fail(KindFleet, errors.New(text)))
			}
		})
	}()
}

// sentence says what an order has done.
func (o *order) sentence(workers int) string {
	replaced := workers
	if o.ids != nil {
		replaced = len(o.ids)
	}
	var text string
	switch replaced {
	case 0:
		text = "no worker replaced"
	case 1:
		text = "1 worker replaced"
	default:
		text = strconv.Itoa(replaced) + " workers replaced"
	}
	if o.handing != nil {
		text += fmt.Sprintf(", %d took the new data in place", o.handing.taken)
	}
	for _, s := range o.said {
		text += "; " + s
	}
	return text
}
