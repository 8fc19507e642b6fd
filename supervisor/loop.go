// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package supervisor

// The loop: the one goroutine that owns the fleet's state. It waits for news, asks internal/fleet what follows, does it,
// and publishes what came of it.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/fleet"
	"github.com/preforkd/preforkd/internal/listen"
	"github.com/preforkd/preforkd/internal/process"
)

type loop struct {
	*Supervisor
	ctx     context.Context // ends with Run: what waits on behalf of the loop waits on it
	state   fleet.State
	queue   []decision // what came up while a step was under way
	busy    bool
	sockets *listen.Set

	loading  []*loadState
	versions []*version // live, datasets in order, oldest first
	abort    context.CancelFunc

	workers   map[fleet.ID]*worker
	ended     []*worker                 // by slot: the last one that ended
	unreaped  map[int]*process.Process  // by pid: ours to wait for
	processes map[*process.Process]bool // workers and producers whose group has not ended
	hurry     bool                      // a quick stop is under way
	asked     map[int]bool              // orphans that were asked to stop when everything else had ended; nil before
	patience  time.Time                 // until when they have

	roster bool // who is to be measured has changed since the sampler was told

	woke   fleet.Time // when the loop last went to wait, by the real clock
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
		workers: map[fleet.ID]*worker{}, ended: make([]*worker, s.config.Workers),
		unreaped: map[int]*process.Process{}, processes: map[*process.Process]bool{}, roster: true,
	}
	l.state = fleet.New(fleet.Config{
		Workers: s.config.Workers, MaxStarting: maxStarting(), Surge: 1,
		StartTimeout: s.config.StartTimeout, StopTimeout: s.config.StopTimeout, QuickTimeout: min(quickTimeout, s.config.StopTimeout),
		KillEvery: killEvery, BackoffMin: backoffMin, BackoffMax: s.config.BackoffMax,
		MinRespawn: minRespawn, GiveUpAfter: giveUpAfter, Seed: uint64(os.Getpid()),
	})
	defer l.closeData()
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
	loaded := l.startLoading()
	defer l.publish()
	l.publish()
	return l.wait(ctx, loaded)
}

// prepare opens and checks everything that can fail before a byte is loaded.
func (l *loop) prepare() error {
	var inherited []listen.Inherited
	for _, in := range l.config.Inherited {
		inherited = append(inherited, listen.Inherited(in))
	}
	sockets, err := listen.Open(l.config.listen, inherited)
	if err != nil {
		return fail(KindListen, err)
	}
	l.sockets = sockets
	if err := l.check(); err != nil {
		sockets.Close()
		return err
	}
	return nil
}

func (l *loop) check() error {
	for _, spec := range l.config.data {
		for _, socket := range l.sockets.Sockets {
			if socket.Name == spec.Name {
				return fail(KindConfig, fmt.Errorf("cannot call a dataset and a listener both %q: rename one, as in --listen web=:8000", spec.Name))
			}
		}
	}
	plan := l.plan(fleet.ID{})
	if err := plan.Check(); err != nil {
		return fail(KindConfig, err)
	}
	for _, spec := range l.config.data {
		if err := spec.Check(); err != nil {
			return fail(KindData, err)
		}
	}
	env, err := plan.Environ(1, make([]string, len(plan.Data)))
	if err != nil {
		return fail(KindConfig, err)
	}
	if _, err := process.LookPathIn(l.config.Dir, l.config.Command[0], env); err != nil && !strings.Contains(l.config.Command[0], "{") {
		return fail(KindFleet, fmt.Errorf("cannot start worker 0: exec %s: %v", l.config.Command[0], err))
	}
	return nil
}

// wait is the loop itself.
func (l *loop) wait(ctx context.Context, loaded <-chan loadResult) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	stop := ctx.Done()
	l.woke = time.Since(l.started)
	for l.finish == nil || len(l.processes) > 0 || loaded != nil || l.strays() {
		var f func(*loop)
		select {
		case f = <-l.inbox:
		case <-stop:
			stop = nil
			f = func(l *loop) { l.stopLoading(); l.step(fleet.Stop{}) }
		case result := <-loaded:
			loaded = nil
			f = func(l *loop) { l.dataLoaded(result) }
		case <-timer.C:
			f = (*loop).tick
		}
		l.notePause()
		if f != nil {
			f(l)
		}
		l.woke = time.Since(l.started)
		l.beat.Store(int64(l.woke))
		next := min(time.Second, max(0, l.state.Next()-l.now()))
		if l.asked != nil {
			next = min(next, strayPoll)
		}
		timer.Reset(next)
	}
	return l.verdict()
}

// now is the fleet's clock. It stands still while this process does.
func (l *loop) now() fleet.Time { return time.Since(l.started) - l.paused }

// notePause takes a pause out of the fleet's clock. The loop waits for a second at most: when it was much longer, the
// process was stopped or its container frozen, and the workers with it; no deadline of theirs has passed.
func (l *loop) notePause() {
	if gap := time.Since(l.started) - l.woke; gap > pauseAfter {
		l.paused += gap
	}
}

// tick lets time pass for the fleet, after all news that has come already: a worker whose Ready waits in the inbox must not
// be punished for a deadline.
func (l *loop) tick() {
	for range len(l.inbox) {
		(<-l.inbox)(l)
	}
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
		l.state, actions = fleet.Step(l.state, l.now(), next.event)
		next.decided()
		for _, action := range actions {
			l.do(action)
		}
	}
	l.busy = false
	l.publish()
}

func (l *loop) do(action fleet.Action) {
	switch action := action.(type) {
	case fleet.Spawn:
		l.spawn(action.ID)
	case fleet.Signal:
		l.signal(action.ID, action.Kind)
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
	reason := l.finish.Reason
	if slot := l.finish.Last.Slot; l.finish.Last.Incarnation > 0 && slot < len(l.ended) && l.ended[slot] != nil {
		w := l.ended[slot]
		if w.exit.Reason == fleet.ReasonStartTimeout.String() && w.notReady != "" {
			reason += ". It " + w.notReady
		}
		if words := w.lastWords(); words != "" {
			reason += fmt.Sprintf("\nthe last words of worker %d:\n%s", slot, indent(words))
		}
	}
	return fail(KindFleet, errors.New(reason))
}

func indent(text string) string { return "  " + strings.ReplaceAll(text, "\n", "\n  ") }

func (l *loop) reapOrphans() {
	if !l.config.ReapOrphans {
		return
	}
	if n := process.ReapOrphans(func(pid int) bool { return l.unreaped[pid] != nil }); n > 0 {
		l.config.Log.Debug("reaped orphans", "count", n)
	}
}

func (l *loop) closeSockets() {
	l.sockets.Close()
	l.sockets = &listen.Set{}
	l.publish()
}

// keep puts a process that was just started on the books until its whole group has ended.
func (l *loop) keep(p *process.Process) {
	l.unreaped[p.PID] = p
	l.processes[p] = true
	if l.hurry {
		p.Hurry(quickTimeout)
	}
	go func() {
		<-p.Gone()
		l.post(func(l *loop) {
			l.reaped(p)
			delete(l.processes, p)
			l.publish()
		})
	}()
}

// reaped notes that a pid is no longer ours, and looks at the orphans: an own zombie hides those behind it.
func (l *loop) reaped(p *process.Process) {
	if l.unreaped[p.PID] == p {
		delete(l.unreaped, p.PID)
	}
	l.reapOrphans()
}

// quit is a quick stop; the second one kills. The fleet knows of its workers, not of what they leave in their groups.
func (l *loop) quit() {
	again := l.hurry
	l.hurry = true
	for p := range l.processes {
		p.Hurry(quickTimeout)
	}
	l.stopLoading()
	l.step(fleet.Quit{})
	if again {
		l.kill()
	}
}

func (l *loop) kill() {
	l.stopLoading()
	l.patience = time.Now()
	l.step(fleet.Kill{})
	for p := range l.processes {
		p.Kill()
	}
}

// strays ends what is left when all workers and their groups are gone: processes that made themselves independent (setsid, a
// daemon's double fork) and came to us as their subreaper, holding memory and sockets. It tells whether there still are any.
func (l *loop) strays() bool {
	if !l.config.ReapOrphans {
		return false
	}
	l.reapOrphans()
	pids := process.Orphans()
	if l.asked == nil && len(pids) > 0 {
		l.asked = map[int]bool{}
		if l.patience.IsZero() {
			l.patience = time.Now().Add(l.config.StopTimeout)
		}
		l.config.Log.Warn("ending processes that workers left behind", "pids", pids)
	}
	if hurried := time.Now().Add(quickTimeout); l.hurry && l.patience.After(hurried) {
		l.patience = hurried
	}
	for _, pid := range pids {
		switch {
		case !time.Now().Before(l.patience):
			process.SignalOrphan(pid, unix.SIGKILL)
		case !l.asked[pid]:
			l.asked[pid] = true
			process.SignalOrphan(pid, l.config.StopSignal)
		}
	}
	return len(pids) > 0
}
