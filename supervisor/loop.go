// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package supervisor

// The loop: the one goroutine that owns the fleet's state. It waits for news, asks internal/fleet what follows, does it,
// and publishes what came of it.

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/preforkd/preforkd/internal/contract"
	"github.com/preforkd/preforkd/internal/fleet"
	"github.com/preforkd/preforkd/internal/listen"
	"github.com/preforkd/preforkd/internal/process"
	"github.com/preforkd/preforkd/internal/watch"
)

type loop struct {
	*Supervisor
	ctx         context.Context // ends with Run: what waits on behalf of the loop waits on it
	state       fleet.State
	queue       []decision // what came up while a step was under way
	busy        bool
	sockets     *listen.Set
	withSockets int // slots that have them

	load     *load            // under way; nil: none
	numbers  map[string]int   // of the newest version of each dataset
	versions []*version       // live, datasets in order, oldest first
	releases map[int]*release // by epoch: the one that serves and, during a roll, the one to come

	digests chan digestJob // nil: nobody reckons them yet
	looking bool           // somebody looks at who still has old versions
	helpers sync.WaitGroup // goroutines that end with the loop
	watcher *watch.Watcher // nil: none

	watched    map[string]string // files by dataset
	watchTurn  int
	watchTurns turns

	closing    int      // versions whose memory is being given back
	unanswered []*order // orders that wait for that
	order      *order   // under way; nil: none
	orders     []*order
	offers     int // made in place so far
	scalings   []*scaling
	lastReload *Reload
	reloads    map[string]uint64 // by result

	workers   map[fleet.ID]*worker
	ended     []*worker                // by slot: the last one that ended
	unreaped  map[int]*process.Process // by pid: ours to wait for
	processes map[*process.Process]int // those whose group has not ended, by the slot of workers, else noSlot
	hurry     bool                     // a quick stop is under way
	asked     map[int]bool             // orphans that were asked to stop when everything else had ended; nil before
	patience  time.Time                // until when they have

	random *rand.Rand // draws the workers' own limits
	oom    oomCount

	roster bool // who is to be measured has changed since the sampler was told

	woke   fleet.Time // when the loop last went to wait, by the real clock
	sleep  fleet.Time // for how long at most
	paused fleet.Time // how long this process stood still, in all

	finish *fleet.Finish
	failed error // what ended the fleet apart from its own decision
}

func runLoop(ctx context.Context, s *Supervisor) error {
	// Workers die with the thread that forked them (golang/go#27505): this one is theirs until all are gone.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	background, cancel := context.WithCancel(context.Background())
	defer cancel()
	l := &loop{
		Supervisor: s, ctx: background,
		workers: map[fleet.ID]*worker{}, ended: make([]*worker, s.config.Workers), numbers: map[string]int{},
		unreaped: map[int]*process.Process{}, processes: map[*process.Process]int{}, roster: true,
		releases: map[int]*release{}, reloads: newReloads(), random: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
	}
	l.oom.begin()
	l.state = fleet.New(s.config.rules())
	l.releases[l.state.Epoch] = &release{config: s.config}
	defer l.helpers.Wait()
	defer cancel()
	defer l.closeData()
	defer l.stopWatching()
	if err := l.prepare(); err != nil {
		l.step(fleet.Stop{})
		return err
	}
	defer l.closeSockets()

	sampled := make(chan struct{})
	go func() { defer close(sampled); s.sampler.Run(background) }()
	defer func() { cancel(); <-sampled }()

	if s.config.ReapOrphans {
		if err := process.BecomeSubreaper(); err != nil {
			s.config.Log.Warn("cannot reap the orphans of workers", "error", err)
		}
	}
	l.startLoading(s.config.data, l.boot)
	defer l.publish()
	l.publish()
	return l.wait(ctx)
}

// boot starts the fleet when the first load is over.
func (l *loop) boot(result loadResult) {
	if result.err != nil {
		if !errors.Is(result.err, context.Canceled) {
			l.failed = fail(KindData, result.err)
		}
		l.step(fleet.Stop{})
		return
	}
	first := l.serving()
	for i, d := range result.loaded {
		first.versions = append(first.versions, l.adopt(d, i))
	}
	l.publishNewest(first)
	l.step(fleet.Boot{}) // does nothing when a stop came first
	l.watch()
}

// prepare opens and checks everything that can fail before a byte is loaded.
func (l *loop) prepare() error {
	if err := l.openSockets(); err != nil {
		return err
	}
	if _, obstacles := l.config.obstacles(l.contractSockets()); len(obstacles) > 0 {
		l.sockets.Close()
		return obstacles[0]
	}
	for _, spec := range l.config.data {
		if !spec.Local() {
			continue // the load is the first to ask the server
		}
		if _, err := spec.Look(l.ctx); err != nil {
			l.sockets.Close()
			return fail(KindData, err)
		}
	}
	return nil
}

// contractSockets are the sockets as workers know them.
func (l *loop) contractSockets() []contract.Socket {
	var list []contract.Socket
	for _, s := range l.sockets.Sockets {
		list = append(list, contract.Socket{Name: s.Name, Port: s.Port})
	}
	return list
}

// wait is the loop itself.
func (l *loop) wait(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	stop := ctx.Done()
	l.woke = time.Since(l.started)
	due := l.woke // the next tick at the latest, however much news comes: a talkative fleet must not put it off
	for l.finish == nil || len(l.processes) > 0 || l.load != nil || l.strays() {
		var f func(*loop)
		select {
		case f = <-l.inbox:
		case <-stop:
			stop = nil
			f = func(l *loop) { l.stopLoading(); l.step(fleet.Stop{}) }
		case result := <-l.loaded():
			f = func(l *loop) { l.dataLoaded(result) }
		case <-timer.C:
			f, due = (*loop).tick, time.Since(l.started)+time.Second
		}
		l.notePause()
		if f != nil {
			f(l)
			l.nextOrder()
		}
		l.woke = time.Since(l.started)
		l.beat.Store(int64(l.woke))
		next := max(0, min(due-l.woke, min(l.state.Next(), l.nextLimit())-l.now()))
		if l.asked != nil {
			next = min(next, strayPoll)
		}
		l.sleep = next
		timer.Reset(next)
	}
	return l.verdict()
}

// now is the fleet's clock. It stands still while this process does.
func (l *loop) now() fleet.Time { return time.Since(l.started) - l.paused }

// notePause takes a pause out of the fleet's clock. When the loop waited for much longer than it meant to, the process was
// stopped or its container frozen, and the workers with it; no deadline of theirs has passed.
func (l *loop) notePause() {
	if late := time.Since(l.started) - l.woke - l.sleep; late > pauseAfter {
		l.paused += late
	}
}

// tick lets time pass for the fleet, after all news that has come already: a worker whose Ready waits in the inbox must not
// be punished for a deadline.
func (l *loop) tick() {
	for range len(l.inbox) {
		(<-l.inbox)(l)
	}
	l.oom.look()
	l.recycle()
	l.lookAtHeld()
	l.step(fleet.Tick{})
}

// decision is an event for the fleet, and what to do between its decision and the actions.
type decision struct {
	event   fleet.Event
	decided func()
}

// step lets the fleet decide about event and does what it asks for. Events that doing so brings up follow in turn.
func (l *loop) step(event fleet.Event) { l.stepThen(event, func() {}) }

func (l *loop) stepThen(event fleet.Event, decided func()) {
	l.queue = append(l.queue, decision{event, decided})
	if l.busy {
		return
	}
	l.busy = true
	for len(l.queue) > 0 {
		next := l.queue[0]
		l.queue = l.queue[1:]
		var actions []fleet.Action
		before := l.state
		l.state, actions = fleet.Step(l.state, l.now(), next.event)
		l.noteChange(before)
		next.decided()
		if l.state.Phase == fleet.Stopping {
			l.hurryLeaving()
		}
		l.makeSockets()
		for _, action := range actions {
			l.do(action)
		}
	}
	l.busy = false
	l.steer()
	l.checkScalings()
	l.publish()
}

func (l *loop) do(action fleet.Action) {
	switch action := action.(type) {
	case fleet.Spawn:
		l.spawn(action.ID, l.releases[action.Epoch])
	case fleet.Signal:
		l.signal(action.ID, action.Kind)
	case fleet.RollEnded:
		l.rollEnded(action)
	case fleet.Finish:
		l.finish = &action
	}
}

// verdict is what Run returns: how the fleet ended, with the last words of the worker that decided it.
func (l *loop) verdict() error {
	switch {
	case l.failed != nil:
		return l.failed
	case l.finish.Result == fleet.Done:
		return nil
	}
	return fail(KindFleet, errors.New(l.finish.Reason+l.endOf(l.finish.Last)()))
}

// endOf returns what is to be said of the end of a worker that has just ended: what its probe saw, and its last words, for
// which the returned function may have to wait.
func (l *loop) endOf(id fleet.ID) func() string {
	if id.Slot >= len(l.ended) || l.ended[id.Slot] == nil || l.ended[id.Slot].id != id {
		return func() string { return "" }
	}
	w, text := l.ended[id.Slot], ""
	if w.exit.Reason == fleet.ReasonStartTimeout.String() && w.notReady != "" {
		text = ". It " + w.notReady
	}
	return func() string {
		if words := w.lastWords(); words != "" {
			return text + fmt.Sprintf("\nthe last words of worker %d:\n%s", id.Slot, indent(words))
		}
		return text
	}
}

func indent(text string) string { return "  " + strings.ReplaceAll(text, "\n", "\n  ") }
