// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package ready

// Watching one starting worker until it counts as ready.

import (
	"context"
	"fmt"
	"time"

	"github.com/preforkd/preforkd/internal/host"
)

const (
	// pause lies between two looks: 0.1 to 2.5 % of a core while a worker starts, by BenchmarkLook.
	pause = 50 * time.Millisecond
	// grace is how long a worker of a fleet without listeners has to live, or to say READY=1 before.
	grace = time.Second
	// blindLooks in a row must end Unknown before READY=1 counts instead. A single one proves nothing: a program that
	// changes its user (sudo in an import) or is between fork and exec cannot be read for a moment.
	blindLooks = 5
	// askEvery lies between two tries to get an answer from a worker that was seen.
	askEvery = 250 * time.Millisecond
	// walkEvery so many looks, one may walk over all TCP sockets of the network namespace, 30 ms for ten thousand, where
	// accepted connections cannot be found in a quicker way.
	walkEvery = 20
)

// Probe watches one starting incarnation.
type Probe struct {
	Proc     string          // mount point of procfs; empty: /proc
	PID      int             // the worker: root of the process tree to look at
	Inodes   []uint64        // the fleet's listening sockets (fstat's st_ino); none: the worker serves nothing we know
	Mode     Mode            // when it counts as ready
	Notified <-chan struct{} // closed by the owner at READY=1; nil: it cannot notify

	// Dial is where the listeners are, in the order of --listen, as "NETWORK ADDRESS" for net.Dial: "tcp 127.0.0.1:8000",
	// "unix /run/x.sock"; an unspecified address (":8000", "[::]:8000") is dialled by loopback. Only the modes that need
	// a listener use it, and of it the first.
	Dial []string
}

// NotReadyError is what Wait returns when it was cancelled. It unwraps to the context's error.
type NotReadyError struct {
	Seen  string // what the last look showed and which --ready would help, as the rest of a sentence about the worker
	Cause error  // ctx.Err()
}

// Error returns e.Seen.
func (e *NotReadyError) Error() string { return e.Seen }

func (e *NotReadyError) Unwrap() error { return e.Cause }

// Wait returns nil when the worker counts as ready, and a *NotReadyError when ctx ends first. Time counts from this
// call: make it as soon as the worker is spawned, and cancel ctx when it has exited, is to stop, or took too long.
func (p Probe) Wait(ctx context.Context) error {
	switch p.Mode.Kind {
	case Notify:
		return p.signal(ctx, 0, "has not sent READY=1 to NOTIFY_SOCKET; if it never does, use --ready auto or alive:DUR")
	case Alive:
		p.Notified = nil
		return p.signal(ctx, p.Mode.Alive, fmt.Sprintf("has not lived for %v yet", p.Mode.Alive))
	case Auto, HTTP, TCP:
	}
	if len(p.Inodes) == 0 && !p.Mode.NeedsListener() {
		return p.signal(ctx, grace, fmt.Sprintf("has neither sent READY=1 nor lived for %v yet", grace))
	}
	return p.watch(ctx)
}

// signal waits for READY=1 or, unless it is 0, for life to pass.
func (p Probe) signal(ctx context.Context, life time.Duration, seen string) error {
	var lived <-chan time.Time
	if life > 0 {
		timer := time.NewTimer(life)
		defer timer.Stop()
		lived = timer.C
	}
	select {
	case <-p.Notified:
		return nil
	case <-lived:
		return nil
	case <-ctx.Done():
		return &NotReadyError{Seen: seen, Cause: ctx.Err()}
	}
}

// watch looks until the evidence is enough.
func (p Probe) watch(ctx context.Context) error {
	if p.Proc == "" {
		p.Proc = procfs
	}
	l := looker{proc: p.Proc, inodes: p.Inodes, numbers: native()}
	timer := time.NewTimer(pause)
	defer timer.Stop()

	notified, asks := p.Notified, p.Mode.NeedsListener()
	var e evidence
	if asks {
		notified, e.told = nil, true // not READY=1, but the answer makes up for what cannot be read
	}
	for looks := 1; ; looks++ {
		l.walk = looks%walkEvery == 0
		pids := host.Tree(p.Proc, p.PID)
		s := l.look(pids)
		if len(pids) == 0 { // it has just ended, and ctx will; or /proc is mounted with hidepid
			s.verdict, s.err = Unknown, fmt.Errorf("%s does not show process %d", p.Proc, p.PID)
		}
		if e.ready(s.verdict) {
			if !asks {
				return nil
			}
			return p.ask(ctx)
		}
		timer.Reset(pause) // after the look: a slow one must not eat the pause
		for waiting := true; waiting; {
			select {
			case <-notified:
				notified, e.told = nil, true
			case <-timer.C:
				waiting = false
			case <-ctx.Done():
				return &NotReadyError{Seen: s.String(), Cause: ctx.Err()}
			}
		}
	}
}

// evidence is what the looks at one worker came to.
type evidence struct {
	told  bool // READY=1 was heard
	blind int  // looks in a row that ended Unknown
}

// ready weighs one more verdict. READY=1 counts only where nothing can be read: gunicorn says it when its master has
// started, seconds before it serves, and even if the application cannot be imported.
func (e *evidence) ready(v Verdict) bool {
	if v == Unknown {
		e.blind++
	} else {
		e.blind = 0
	}
	return v == Seen || e.told && e.blind >= blindLooks
}

// String ends a sentence that begins with "the worker".
func (s sight) String() string {
	const advice = "if it serves all the same, use --ready notify or alive:DUR"
	switch {
	case s.verdict == Seen:
		return "waits on a listening socket"
	case s.verdict == Unknown:
		return fmt.Sprintf("was not seen waiting on a listening socket (%v); %s", s.err, advice)
	case s.holders == 0:
		return fmt.Sprintf("has no listening socket open in any of its processes (%d): "+
			"does it use LISTEN_FDS or {fd:NAME}? %s", s.processes, advice)
	}
	return fmt.Sprintf("has a listening socket open in %d of its processes (%d), but none waits on it yet; %s",
		s.holders, s.processes, advice)
}
