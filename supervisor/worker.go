// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package supervisor

// One worker: started, listened to, signalled, remembered when it has ended.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/contract"
	"github.com/preforkd/preforkd/internal/fleet"
	"github.com/preforkd/preforkd/internal/process"
	"github.com/preforkd/preforkd/internal/ready"
	"github.com/preforkd/preforkd/internal/recycle"
)

// worker is what the loop keeps of one incarnation.
type worker struct {
	id       fleet.ID
	process  *process.Process // nil when the fork failed
	notifier *ready.Notifier  // nil when it could not be opened
	notified chan struct{}    // closed at READY=1
	release  *release         // what it is to be: what it was started from, or took over since
	first    []*version       // what it was started with
	versions []*version       // what it has been handed of release, in the order of its descriptors
	held     []*version       // older ones that it may still map
	takers   []*taker         // processes of it that take new versions themselves
	lapsed   []int            // processes of it that did so once, or may not
	declined []string         // why processes of it may not, as far as it was logged
	spawned  time.Time
	stopProb context.CancelFunc // ends its probe
	notReady string             // what the probe saw last when it was cancelled
	status   string             // STATUS=
	requests *int64             // X_PREFORKD_REQUESTS=
	limits   *recycle.Tracker
	leaving  *leaving // it is being kept from taking new connections before it is asked to stop
	asked    bool     // it got the stop signal
	exit     *Exit
}

// lastWordsPatience bounds the wait for what a dead worker left in its pipe.
const lastWordsPatience = 500 * time.Millisecond

func (w *worker) lastWords() string {
	if w.process == nil {
		return ""
	}
	return w.process.LastWords(lastWordsPatience)
}

// about is the log with the worker's name on each line.
func (l *loop) about(id fleet.ID) *slog.Logger {
	return l.config.Log.With("worker", id.Slot, "incarnation", id.Incarnation)
}

// spawn starts a worker. What fails before there is a process is news for the fleet, like all that follows.
func (l *loop) spawn(id fleet.ID, from *release) {
	w := &worker{id: id, notified: make(chan struct{}), release: from, first: from.versions, versions: from.versions, spawned: time.Now()}
	w.limits = recycle.New(from.policy(), l.random, l.now())
	l.workers[id] = w
	if err := l.sockets.Listen(id.Slot); err != nil {
		// Another program took the port between our bind and now. Later, in a fleet that runs, it is one start that failed.
		if l.state.Phase == fleet.Starting {
			l.failed = fail(KindListen, err)
		}
		l.spawnFailed(w, process.SpawnFailed{Err: err, Permanent: true})
		return
	}
	l.openNotifier(w)
	if err := l.start(w); err != nil {
		switch {
		case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
			err = fmt.Errorf("%w: raise the limit of open files (ulimit -n, LimitNOFILE= of systemd)", err)
		case errors.Is(err, unix.EAGAIN):
			err = fmt.Errorf("%w: raise the limit of processes (pids.max of the cgroup, TasksMax= of systemd, ulimit -u)", err)
		}
		l.spawnFailed(w, process.SpawnFailed{Err: err})
		return
	}
	l.keep(w.process, w.id.Slot)
}

func (l *loop) start(w *worker) error {
	config := w.release.config
	plan := l.plan(w.id, w.release)
	if w.notifier != nil {
		plan.NotifySocket = w.notifier.Addr()
		plan.Watchdog = config.Watchdog
	}
	spec := &process.Spec{
		Plan: plan, Stdout: int(config.Stdout.Fd()), Stderr: int(os.Stderr.Fd()), Log: config.WorkerLog,
		Dir: config.Dir, OOMScoreAdj: oomScoreAdj(), StopSignal: config.StopSignal, StopTimeout: config.StopTimeout,
	}
	if u := config.User; u != nil {
		spec.Credential = &process.Credential{UID: u.UID, GID: u.GID, Groups: u.Groups}
	}
	l.makeBlocking(w.id.Slot)
	spec.Sockets = l.sockets.FDs(w.id.Slot)
	for _, v := range w.release.versions {
		file, err := v.Open()
		if err != nil {
			return err
		}
		defer file.Close()
		spec.Data = append(spec.Data, process.DataFile{FD: int(file.Fd()), Paths: v.paths})
	}
	if config.Capture != nil {
		spec.Out, spec.Log = config.Capture(w.id.Slot, w.id.Incarnation)
	}
	p, err := process.Start(spec, func(event process.Event) {
		l.post(func(l *loop) { l.news(w, event) })
	})
	w.process = p
	return err
}

// plan is the contract for one worker. Versions that are nil are not loaded yet.
func (l *loop) plan(id fleet.ID, from *release) *contract.Plan {
	config := from.config
	plan := &contract.Plan{
		Command: config.Command, Base: config.baseEnv, Env: config.Env,
		Worker: id.Slot, Workers: max(l.state.Config.Workers, id.Slot+1), Incarnation: id.Incarnation,
	}
	if config.RunDir != nil {
		plan.RunDir = config.RunDir.Path()
	}
	plan.Sockets = l.contractSockets()
	for i, v := range from.versions {
		d := contract.Dataset{Name: config.data[i].Name}
		if v != nil {
			d = v.contract()
		}
		plan.Data = append(plan.Data, d)
	}
	return plan
}

// contract is a version as a worker is told of it.
func (v *version) contract() contract.Dataset {
	d := contract.Dataset{
		Name: v.Name, Version: v.number, Size: v.Size(), SHA256: v.sha256(), Direct: v.Direct(),
		Format: v.Format, DType: v.DType, Shape: v.Shape, Order: v.Order, Offset: v.Offset,
	}
	if v.Segment != nil {
		d.Ino = v.Segment.Ino()
	}
	for _, m := range v.Members {
		d.Members = append(d.Members, contract.Member(m))
	}
	for _, f := range v.Schema {
		d.Schema = append(d.Schema, contract.Field(f))
	}
	return d
}

// news is what the process layer tells about a worker; the fleet decides.
func (l *loop) news(w *worker, event process.Event) {
	switch event := event.(type) {
	case process.Spawned:
		l.about(w.id).Info("worker started", "pid", w.process.PID)
		l.noteWorker(w, EventStarted, "started", false)
		l.probe(w)
		l.roster = true
		l.step(fleet.Spawned{ID: w.id, PID: w.process.PID})
	case process.SpawnFailed:
		l.reaped(w.process)
		l.spawnFailed(w, event)
	case process.Exited:
		l.reaped(w.process)
		l.exited(w, event)
	}
}

func (l *loop) spawnFailed(w *worker, event process.SpawnFailed) {
	l.retire(w, &Exit{At: time.Now(), Reason: fleet.ReasonSpawnFailed.String()})
	l.stepThen(fleet.SpawnFailed{ID: w.id, Permanent: event.Permanent, Reason: event.Err.Error()}, func() {
		if l.state.Phase != fleet.Stopping && l.state.Phase != fleet.Stopped { // else it is what Run fails with
			l.about(w.id).Error("cannot start worker", "error", event.Err)
		}
		l.noteWorker(w, EventEnded, "cannot start: "+event.Err.Error(), true)
	})
}

func (l *loop) exited(w *worker, event process.Exited) {
	exit := &Exit{At: time.Now()}
	if event.Signal == int(unix.SIGKILL) {
		exit.OOM = l.oom.claim()
	}
	if event.Signal != 0 {
		exit.Signal = unix.SignalName(unix.Signal(event.Signal))
	} else {
		exit.Code = &event.Code
	}
	l.retire(w, exit)
	l.stepThen(fleet.Exited{ID: w.id, Exit: fleet.Exit{Code: event.Code, Signal: event.Signal, OOM: exit.OOM}}, func() {
		// Here the slot's last reason is that of this very end.
		reason := l.state.Slots[w.id.Slot].LastReason
		exit.OOM = exit.OOM && reason == fleet.ReasonCrash
		exit.Reason = reason.String()
		l.logEnd(w, event, reason)
	})
}

// logEnd says how a worker ended, and what that means.
func (l *loop) logEnd(w *worker, event process.Exited, reason fleet.Reason) {
	level := slog.LevelWarn
	attrs := []any{"pid", w.process.PID, "by", event.String(), "reason", reason.String(), "uptime", roundedTime(time.Since(w.spawned))}
	if next := l.state.Due(w.id.Slot); next != fleet.Never {
		attrs = append(attrs, "next_start_in", roundedTime(max(0, next-l.now())))
	}
	switch {
	case reason == fleet.ReasonCrash && w.exit.OOM:
		attrs = append(attrs, "hint", "the OOM killer: memory ran out in preforkd's cgroup. It judges by RSS, which has the shared data "+
			"in every worker, so it need not be the one that grew; see docs/troubleshooting.md and --max-private")
	case reason == fleet.ReasonCrash && event.Signal == int(unix.SIGKILL):
		attrs = append(attrs, "hint", "killed from outside; no OOM kill was counted in preforkd's cgroup")
	case reason == fleet.ReasonCrash, reason == fleet.ReasonStopTimeout, reason == fleet.ReasonWatchdog:
	case reason == fleet.ReasonStartTimeout:
		attrs = append(attrs, "hint", fmt.Sprintf("not ready within %v: it %s", w.release.config.StartTimeout, w.notReady))
	default:
		level = slog.LevelInfo
	}
	l.about(w.id).Log(l.ctx, level, "worker ended", attrs...)
	l.noteWorker(w, EventEnded, endText(w, event, reason), level != slog.LevelInfo)
}

// retire takes a worker that has ended off the books.
func (l *loop) retire(w *worker, exit *Exit) {
	if w.stopProb != nil {
		w.stopProb()
	}
	if w.notifier != nil {
		w.notifier.Close()
	}
	w.endLeaving()
	w.dropTakers()
	w.exit = exit
	l.roster = true
	delete(l.workers, w.id)
	for len(l.ended) <= w.id.Slot { // the fleet was scaled up
		l.ended = append(l.ended, nil)
	}
	l.ended[w.id.Slot] = w
	l.collect()
}

func (l *loop) signal(id fleet.ID, kind fleet.Kind) {
	w := l.workers[id]
	if w == nil || w.process == nil {
		return
	}
	if w.stopProb != nil {
		w.stopProb()
	}
	state, _ := l.state.Worker(id)
	switch kind {
	case fleet.SignalKill:
		why := "told to"
		if state.Reason != fleet.ReasonStop {
			why = "it did not stop in time"
		}
		l.about(id).Warn("killing worker", "pid", w.process.PID, "why", why)
		w.process.Kill()
	case fleet.SignalAbort:
		l.about(id).Warn("aborting worker", "pid", w.process.PID, "signal", "SIGABRT")
		w.process.Signal(unix.SIGABRT)
	case fleet.SignalStop:
		l.askToStop(w, state.Reason)
	}
}

// probe watches for the moment in which a worker serves.
func (l *loop) probe(w *worker) {
	ctx, cancel := context.WithCancel(l.ctx)
	w.stopProb = cancel
	probe := ready.Probe{
		PID: w.process.PID, Inodes: l.sockets.Inodes(w.id.Slot), Dial: l.sockets.Dial(), Mode: w.release.config.mode, Notified: w.notified,
	}
	go func() {
		err := probe.Wait(ctx)
		l.post(func(l *loop) {
			cancel()
			if err != nil {
				w.notReady = err.Error()
				return
			}
			if l.workers[w.id] == w {
				l.about(w.id).Info("worker ready", "pid", w.process.PID, "after", roundedTime(time.Since(w.spawned)))
				l.noteWorker(w, EventReady, "ready after "+roundedTime(time.Since(w.spawned)), false)
				l.roster = true
				w.limits.Ready(l.now())
			}
			l.step(fleet.Ready{ID: w.id})
		})
	}()
}

// openNotifier gives a worker its notify socket. A fleet can do without: the worker just cannot speak.
func (l *loop) openNotifier(w *worker) {
	var uids []uint32
	if u := l.config.User; u != nil {
		uids = append(uids, uint32(u.UID))
	}
	name := fmt.Sprintf("%d/%d.%d", os.Getpid(), w.id.Slot, w.id.Incarnation)
	notifier, err := ready.Listen(name, uids...)
	if err != nil {
		l.about(w.id).Warn("cannot open the worker's notify socket", "error", err)
		return
	}
	w.notifier = notifier
	go func() {
		_ = notifier.Run(func(m ready.Message) {
			if !l.post(func(l *loop) { l.heard(w, m) }) {
				for _, r := range m.Registrations {
					r.Socket.Close()
				}
			}
		})
	}()
}

// heard is what a worker said on its notify socket.
func (l *loop) heard(w *worker, m ready.Message) {
	if m.Status != nil {
		w.status = *m.Status
	}
	if m.Requests != nil {
		w.requests = m.Requests
		w.limits.Requests(*m.Requests)
	}
	if m.Watchdog {
		w.limits.Alive(l.now())
	}
	for _, r := range m.Registrations {
		l.register(w, r)
	}
	if m.Declined != "" {
		l.decline(w, m.PID, m.Declined)
	}
	if m.Ready {
		select {
		case <-w.notified:
		default:
			close(w.notified)
		}
	}
	// Seen with the next step, within a second: a talkative worker must not cost the others anything.
}

// oomScoreAdj is the supervisor's own value, raised; nil where it cannot be read.
func oomScoreAdj() *int {
	text, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return nil
	}
	own, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return nil
	}
	raised := min(1000, own+oomRaise)
	return &raised
}

// roundedTime is a duration as log lines show it; slog's JSON would write nanoseconds.
func roundedTime(d time.Duration) string { return d.Round(time.Millisecond).String() }
