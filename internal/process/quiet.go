// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package process

// Quiet before a stop. uvicorn closes connections that it has accepted but not yet read when it is told to stop: 21 to 47
// resets in 15 to 50 graceful restarts under load. A worker that is no longer told of new connections has read what it
// accepted when the signal comes, 50 ms later, and new ones stay in the queue for the other workers: 0 resets in 101,737
// requests.
//
// An epoll entry is found by the socket's file and the number that it was registered under, which may be anything here.
// So the epoll instance and the socket are duplicated (pidfd_getfd, Linux 5.6), and a short-lived child, in which the
// socket gets that very number, changes the entry.

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Watcher is an epoll entry that asks for new connections; its fields are those of ready.Watcher.
type Watcher struct {
	PID    int
	Epoll  int
	Socket int
	FD     int
	Inode  uint64
	Data   uint64
	Events uint32
}

// quietEntry is a Watcher as the child sees it: Epoll and Socket are its own descriptors.
type quietEntry struct {
	Epoll, Socket, FD int
	Data              uint64
	Events            uint32
}

// StartQuiet makes event loops deaf to new connections: it starts a child that takes their listening sockets out of what
// they wait for. Like Start it must be called on the locked thread. The process is its owner's to keep until Gone, and
// ended is called from its goroutine when its pid is no longer ours: with nil when every entry is silent. No process and
// no error: there was nothing to do, ended is not called.
//
// Duplicating needs ptrace access to the worker: the same user or CAP_SYS_PTRACE, and no seccomp filter against
// pidfd_getfd as Docker's default is. So an error, at once or later, is normal; it means that some entries or all are as
// they were. Nothing is touched but the entries of watchers, and of these none whose socket has become another.
func StartQuiet(watchers []Watcher, ended func(error)) (*Process, error) {
	entries, files, err := duplicate(watchers)
	defer func() {
		for _, fd := range files {
			unix.Close(fd)
		}
	}()
	if err != nil || len(entries) == 0 {
		return nil, err
	}
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(null)
	all := []int{null, null, null}
	for i := range entries {
		entries[i].Epoll, entries[i].Socket = len(all)+2*i, len(all)+2*i+1
	}
	p := newProcess(0, math.MaxInt64)
	close(p.said) // it writes nothing
	close(p.copied)
	if p.child, err = spawn(append(all, files...), &stagePlan{Quiet: entries}); err != nil {
		return nil, err
	}
	p.PID = p.child.pid
	go p.watch(func(event Event) {
		switch event := event.(type) {
		case SpawnFailed:
			ended(event.Err)
		case Exited:
			if event == (Exited{}) {
				ended(nil)
			} else {
				ended(errors.New(event.String()))
			}
		}
	})
	return p, nil
}

// duplicate returns, for each of watchers that is still what it was, an entry and files: its epoll instance and its
// socket. They are the caller's to close, with an error too.
func duplicate(watchers []Watcher) (entries []quietEntry, files []int, err error) {
	for _, w := range watchers {
		epoll, socket, err := w.duplicate()
		if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EBADF) {
			continue // the process or the descriptor is gone
		}
		if err != nil {
			return nil, files, err
		}
		var stat unix.Stat_t
		if err := unix.Fstat(socket, &stat); err != nil || stat.Ino != w.Inode || stat.Mode&unix.S_IFMT != unix.S_IFSOCK {
			unix.Close(epoll)
			unix.Close(socket)
			continue // the number is another file by now
		}
		files = append(files, epoll, socket)
		entries = append(entries, quietEntry{FD: w.FD, Data: w.Data, Events: w.Events})
	}
	return entries, files, nil
}

func (w Watcher) duplicate() (epoll, socket int, err error) {
	pidfd, err := unix.PidfdOpen(w.PID, 0)
	if err != nil {
		return -1, -1, fmt.Errorf("pidfd_open: %w", err)
	}
	defer unix.Close(pidfd)
	if epoll, err = unix.PidfdGetfd(pidfd, w.Epoll, 0); err != nil {
		return -1, -1, fmt.Errorf("pidfd_getfd: %w", err)
	}
	if socket, err = unix.PidfdGetfd(pidfd, w.Socket, 0); err != nil {
		unix.Close(epoll)
		return -1, -1, fmt.Errorf("pidfd_getfd: %w", err)
	}
	return epoll, socket, nil
}

// runQuiet is the child, which ends here unless it fails.
func runQuiet(entries []quietEntry) error {
	// Out of the way of the numbers that the sockets must get.
	free := 0
	for _, e := range entries {
		free = max(free, e.FD+1, e.Epoll+1, e.Socket+1)
	}
	for i := range entries {
		for _, fd := range []*int{&entries[i].Epoll, &entries[i].Socket} {
			moved, err := unix.FcntlInt(uintptr(*fd), unix.F_DUPFD, free)
			if err != nil {
				return fmt.Errorf("dup: %w", err)
			}
			*fd = moved
		}
	}
	for _, e := range entries {
		if err := e.silence(); err != nil {
			return err
		}
	}
	syscall.Exit(0)
	return nil
}

// silence leaves the entry in place, so that the program can take it out as usual, but asks for nothing: errors and
// hang-ups alone are still told. An entry that is gone is silent.
func (e quietEntry) silence() error {
	if err := unix.Dup3(e.Socket, e.FD, 0); err != nil {
		return fmt.Errorf("dup3: %w", err)
	}
	var data [8]byte
	binary.NativeEndian.PutUint64(data[:], e.Data)
	event := unix.EpollEvent{ // Fd and Pad are the halves of data
		Fd: int32(binary.NativeEndian.Uint32(data[:])), Pad: int32(binary.NativeEndian.Uint32(data[4:])),
	}
	operation := unix.EPOLL_CTL_MOD
	if e.Events&unix.EPOLLEXCLUSIVE != 0 {
		operation = unix.EPOLL_CTL_DEL // such an entry cannot be changed (Linux 4.5)
	}
	if err := unix.EpollCtl(e.Epoll, operation, e.FD, &event); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}
