// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package ready

// The verdict over a process tree, and how one process is judged.

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/host"
)

// Verdict is what a look at a process tree shows.
type Verdict int

// What Waiting can say.
const (
	// NotSeen: everything could be read, and nobody waits on the sockets.
	NotSeen Verdict = iota
	// Seen: a process waits for connections on one of the sockets, or has accepted one.
	Seen
	// Unknown: something could not be read, and nobody was seen waiting in the rest.
	Unknown
)

// String returns "not seen", "seen" or "unknown".
func (v Verdict) String() string {
	switch v {
	case NotSeen:
		return "not seen"
	case Seen:
		return "seen"
	case Unknown:
		return "unknown"
	}
	return fmt.Sprintf("Verdict(%d)", int(v))
}

const procfs = "/proc" // where the processes of this machine are, and not those of a test

// Waiting tells whether one of the processes pids waits for connections on one of the listening sockets inodes (fstat's
// st_ino of the socket's descriptor), or has one from it. proc is the mount point of procfs, normally "/proc". The error
// is non-nil exactly when the verdict is Unknown, and says what could not be read.
//
// A process waits when an epoll instance it has open watches the socket for input, or when one of its threads is inside
// accept, poll or select on it. One that is too busy to wait has a connection that it accepted. Having the socket open is
// nothing: every worker inherits it. Processes that end during the look count as not there.
func Waiting(proc string, pids []int, inodes []uint64) (Verdict, error) {
	l := looker{proc: proc, inodes: inodes, numbers: native(), walk: true}
	seen := l.look(pids)
	return seen.verdict, seen.err
}

// sight is what one look shows.
type sight struct {
	verdict   Verdict
	processes int   // looked at
	holders   int   // of these, those that have a listening socket open
	err       error // with Unknown: the first thing that could not be read
}

// looker keeps the buffers from one look to the next: a start is probed many times.
type looker struct {
	proc    string
	inodes  []uint64
	numbers syscalls

	// walk: look for accepted connections in /proc/net/tcp too, where nothing quicker can be had.
	walk bool

	names   []string // of the directory read last
	links   []byte   // one link's target
	text    []byte   // one file of /proc, or a piece of a worker's memory
	listen  []socket // descriptors of the current process that are our sockets
	sockets []socket // its other sockets
	epolls  []string // its descriptors that are epoll instances
}

var errUring = errors.New("it may accept connections by io_uring, which /proc does not show")

func (l *looker) look(pids []int) sight {
	var s sight
	for _, pid := range pids {
		dir := l.proc + "/" + strconv.Itoa(pid)
		waits, err := l.process(pid, dir)
		if err != nil && l.zombie(dir) {
			continue
		}
		if errors.Is(err, fs.ErrPermission) {
			waits, err = l.asItsUser(pid, dir, err)
		}
		s.processes++
		if len(l.listen) > 0 {
			s.holders++
		}
		if waits {
			s.verdict, s.err = Seen, nil
			return s
		}
		if err != nil && s.err == nil {
			s.verdict, s.err = Unknown, fmt.Errorf("cannot look at process %d: %w", pid, err)
		}
	}
	return s
}

// process judges the one process whose directory is dir: epoll first, as it needs no look at the threads, and those after
// the connections, which are soon gone.
func (l *looker) process(pid int, dir string) (waits bool, err error) {
	uring, err := l.descriptors(dir + "/fd")
	if err != nil {
		return false, err
	}
	for _, fd := range l.epolls {
		text, err := l.read(unix.AT_FDCWD, dir+"/fdinfo/"+fd)
		if err != nil && !gone(err) {
			return false, err
		}
		if watches(text, l.inodes) {
			return true, nil
		}
	}
	if len(l.listen) == 0 {
		return false, nil
	}
	waits, askErr := l.accepted(pid)
	if !waits {
		waits, err = l.threads(dir)
	}
	if waits || askErr != nil && l.acceptedByList(dir) {
		return true, nil
	}
	if err == nil && uring {
		err = errUring
	}
	return false, err
}

// asItsUser judges a process once more as its own user may: root in a container has no CAP_SYS_PTRACE. refused is what
// the first try came to; it stands where this one is not allowed either.
func (l *looker) asItsUser(pid int, dir string, refused error) (waits bool, err error) {
	who, shown := host.Owner(dir)
	if !shown {
		return false, refused
	}
	runtime.LockOSThread()
	done, stuck := host.As(who, func() { waits, err = l.process(pid, dir) })
	if !stuck {
		runtime.UnlockOSThread()
	}
	if !done {
		return false, refused
	}
	return waits, err
}

// zombie tells whether the process has ended and only waits to be reaped. Its descriptors are then root's to read:
// another user gets EACCES, which says nothing. /proc/PID/stat, "10 (comm) Z …" with any text as comm, is for everybody.
func (l *looker) zombie(dir string) bool {
	text, err := l.read(unix.AT_FDCWD, dir+"/stat")
	if err != nil {
		return false
	}
	_, state, ok := bytes.Cut(text[bytes.LastIndexByte(text, ')')+1:], []byte(" "))
	return ok && bytes.HasPrefix(state, []byte("Z"))
}

// gone tells whether err only means that a process, a thread or a descriptor has ended meanwhile.
func gone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH)
}
