// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package process

// One worker: started, signalled, waited for.

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/contract"
)

// DataFile is one dataset as it is handed to a worker: the worker's own O_RDONLY open, and the paths that may lead to
// the same segment there, best first.
type DataFile struct {
	FD    int
	Paths []string
}

// Spec is a worker to start. Descriptors stay the caller's and may be closed when Start has returned.
type Spec struct {
	Plan    *contract.Plan
	Sockets []int // in the order of Plan.Sockets
	Data    []DataFile
	Stdout  int // used when Out is nil
	Stderr  int // used when Log is nil
	// Out and Log get the worker's standard output and error byte for byte, each from a goroutine of its own; the last bytes
	// of the error are kept. A Log without Out may be shared and is never closed. With Out both are this worker's alone: what
	// is an io.Closer is closed at the end of its stream, also when Start fails.
	Out, Log    io.Writer
	Dir         string
	Credential  *Credential
	OOMScoreAdj *int

	// StopSignal is what the rest of a group gets when its leader has died.
	StopSignal unix.Signal
	// StopTimeout is how long the whole group gets, from the first StopSignal on, before what is left of it is killed.
	// A leader that is still alive then is its owner's to Kill.
	StopTimeout time.Duration
}

// Event is Spawned, SpawnFailed or Exited.
type Event interface{ event() }

// Spawned says that the exec stage has become the command.
type Spawned struct{}

// SpawnFailed says that there never was a command. Permanent: trying again cannot help.
type SpawnFailed struct {
	Err       error
	Permanent bool
}

// Exited is how a command ended: by Signal unless that is 0, else with Code.
type Exited struct{ Code, Signal int }

func (Spawned) event()     {}
func (SpawnFailed) event() {}
func (Exited) event()      {}

// Process is one child and its group.
type Process struct {
	PID int

	child      *child
	words      tail
	said       chan struct{} // closed when standard output has come to its end and been copied, if it is
	copied     chan struct{} // the same of standard error
	gone       chan struct{} // closed when the whole group has ended
	killed     chan struct{} // closed by Kill
	stopSignal unix.Signal
	grace      time.Duration

	mu       sync.Mutex
	running  bool          // the exec stage has become the command
	pending  []unix.Signal // what the command gets then
	reaped   bool          // the pid is no longer ours
	deadline *time.Timer   // of the group; nil before the first stop signal
}

func newProcess(stopSignal unix.Signal, grace time.Duration) *Process {
	return &Process{
		said: make(chan struct{}), copied: make(chan struct{}), gone: make(chan struct{}), killed: make(chan struct{}),
		stopSignal: stopSignal, grace: grace,
	}
}

// Start forks a worker and returns at once; report is then called with its events from one goroutine. It must run on
// the thread of Stage's parent-death signal: one that is locked for life. An error means that there was no fork.
func Start(spec *Spec, report func(Event)) (*Process, error) {
	p := newProcess(spec.StopSignal, spec.StopTimeout)
	stdout, outErr := p.capture(spec.Stdout, spec.Out, spec.Out != nil, io.Discard, p.said)
	stderr, logErr := p.capture(spec.Stderr, spec.Log, spec.Out != nil, &p.words, p.copied)
	if spec.Out != nil {
		defer unix.Close(stdout)
	}
	if spec.Log != nil {
		defer unix.Close(stderr)
	}
	null, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	defer unix.Close(null)
	if err := errors.Join(outErr, logErr, err); err != nil {
		return nil, err
	}
	files := append([]int{null, stdout, stderr}, spec.Sockets...)
	plan := &stagePlan{
		Dir: []byte(spec.Dir), OOMScoreAdj: spec.OOMScoreAdj, Credential: spec.Credential, Worker: spec.Plan,
	}
	for _, d := range spec.Data {
		files = append(files, d.FD)
		plan.Paths = append(plan.Paths, d.Paths)
	}
	if p.child, err = spawn(files, plan); err != nil {
		return nil, err
	}
	p.PID = p.child.pid
	go p.watch(report)
	return p, nil
}

// watch follows the process from the exec stage to the end of its group.
func (p *Process) watch(report func(Event)) {
	defer close(p.gone)
	defer p.drain()
	failure := p.child.stageResult()
	if failure == nil {
		p.becomeCommand()
		report(Spawned{})
	}
	status := p.reap()
	if failure != nil {
		report(SpawnFailed{Err: failure, Permanent: failure.permanent()})
		return
	}
	report(Exited{Code: exitCode(status), Signal: exitSignal(status)})
	clearGroup(p.PID, p.deadline, p.killed)
}

// becomeCommand delivers the signals that came too early.
func (p *Process) becomeCommand() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running = true
	for _, sig := range p.pending {
		_ = unix.Kill(p.PID, sig)
	}
	p.pending = nil
}

// stageResult waits until the exec stage has become the command (nil), failed, or died without a word (nil: its exit
// status says the rest).
func (c *child) stageResult() *stageError {
	text, _ := io.ReadAll(c.report)
	c.report.Close()
	if len(text) == 0 {
		return nil
	}
	failure := new(stageError)
	if err := json.Unmarshal(text, failure); err != nil {
		return &stageError{Step: "exec stage", Text: err.Error()}
	}
	return failure
}

// waitDead parks until the process has ended and leaves it a zombie, so that its pid and its group keep their number.
func (c *child) waitDead() {
	dead := func(options int) bool {
		var info unix.Siginfo
		err := ignoringEINTR(func() error {
			return unix.Waitid(unix.P_PID, c.pid, &info, unix.WEXITED|unix.WNOWAIT|options, nil)
		})
		return err != nil || info.Signo != 0
	}
	raw, err := c.pidfd.SyscallConn()
	if err == nil {
		err = raw.Read(func(uintptr) bool { return dead(unix.WNOHANG) })
	}
	if err != nil {
		dead(0) // a pidfd that cannot be polled costs a thread; going on too early would hit a living group
	}
}

// reap waits for the process, passes the stop signal on to what is left of its group, and takes its status.
func (p *Process) reap() unix.WaitStatus {
	p.child.waitDead()
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = unix.Kill(-p.PID, p.stopSignal) // the zombie pins the number: this reaches our group or nobody
	var status unix.WaitStatus
	_ = ignoringEINTR(func() error {
		_, err := unix.Wait4(p.PID, &status, 0, nil)
		return err
	})
	p.reaped = true
	p.startDeadline()
	p.child.pidfd.Close()
	return status
}

// startDeadline gives the group its time. The caller holds p.mu.
func (p *Process) startDeadline() {
	if p.deadline == nil {
		p.deadline = time.NewTimer(p.grace)
	}
}

// Signal sends sig to the leader, when it has become the command: the exec stage would ignore a USR1 and answer a QUIT
// with a stack trace. A process that has ended is no error: its exit is on its way.
func (p *Process) Signal(sig unix.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return
	}
	if sig == p.stopSignal {
		p.startDeadline()
	}
	if !p.running {
		p.pending = append(p.pending, sig)
		return
	}
	// By pid, not pidfd: the same process, since nobody else reaps it, and it works where pidfds are filtered.
	_ = unix.Kill(p.PID, sig)
}

// Kill ends the leader and its whole group, at once and also when the leader has ended before. Processes that went into
// a session or group of their own are not reached.
func (p *Process) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.killed:
	default:
		close(p.killed)
	}
	if !p.reaped {
		_ = unix.Kill(-p.PID, unix.SIGKILL)
		_ = unix.Kill(p.PID, unix.SIGKILL) // it may have joined another group
	}
}

// Hurry shortens the time that the group gets, counted from now if it was asked to stop already.
func (p *Process) Hurry(grace time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if grace >= p.grace {
		return
	}
	p.grace = grace
	if p.deadline != nil {
		p.deadline.Reset(grace)
	}
}

// Gone is closed when the process and what was left of its group have ended, and what they wrote has been copied. For a
// pipe that somebody else holds, or a writer that does not take it, it waits half a second; the copying goes on.
func (p *Process) Gone() <-chan struct{} { return p.gone }

func exitCode(status unix.WaitStatus) int {
	if status.Signaled() {
		return 0
	}
	return status.ExitStatus()
}

func exitSignal(status unix.WaitStatus) int {
	if status.Signaled() {
		return int(status.Signal())
	}
	return 0
}

// String says how a process ended: "exit status 3", "signal 9 (killed)".
func (e Exited) String() string {
	if e.Signal != 0 {
		return "signal " + strconv.Itoa(e.Signal) + " (" + unix.Signal(e.Signal).String() + ")"
	}
	return "exit status " + strconv.Itoa(e.Code)
}

func ignoringEINTR(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
