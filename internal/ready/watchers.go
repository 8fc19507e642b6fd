// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package ready

// Who is told of new connections: the entries that package process can silence before a worker is stopped.

import (
	"fmt"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Watcher is an entry of an epoll instance that asks for the connections of a listening socket.
type Watcher struct {
	PID    int    // a process that has both open
	Epoll  int    // its descriptor of the epoll instance
	Socket int    // its descriptor of the socket
	FD     int    // the number of the socket at its registration, usually Socket; part of the entry's key
	Inode  uint64 // of the socket
	Data   uint64 // the program's own word
	Events uint32 // EPOLLIN and flags
}

// Watchers returns the entries in the epoll instances of the processes pids that ask for input on one of the listening
// sockets inodes. None: the processes wait in another way, or not at all. The error says what could not be read; the
// entries found all the same come with it. proc is the mount point of procfs.
func Watchers(proc string, pids []int, inodes []uint64) (list []Watcher, err error) {
	l := looker{proc: proc, inodes: inodes}
	for _, pid := range pids {
		dir := proc + "/" + strconv.Itoa(pid)
		if failed := l.watchers(pid, dir, &list); failed != nil && err == nil && !l.zombie(dir) {
			err = fmt.Errorf("cannot look at process %d: %w", pid, failed)
		}
	}
	return list, err
}

func (l *looker) watchers(pid int, dir string, list *[]Watcher) error {
	if _, err := l.descriptors(dir + "/fd"); err != nil {
		return err
	}
	for _, name := range l.epolls {
		text, err := l.read(unix.AT_FDCWD, dir+"/fdinfo/"+name)
		if err != nil {
			if gone(err) {
				continue
			}
			return err
		}
		for w := range watched(text, l.inodes) {
			epoll, err := strconv.Atoi(name)
			if w.Socket = l.number(w.Inode, w.FD); err != nil || w.Socket < 0 {
				continue
			}
			w.PID, w.Epoll = pid, epoll
			*list = append(*list, w)
		}
	}
	return nil
}

// number returns a descriptor that is the listening socket inode, best fd; -1 if there is none (any more).
func (l *looker) number(inode uint64, fd int) int {
	if slices.Contains(l.listen, socket{fd, inode}) {
		return fd
	}
	for _, s := range l.listen {
		if s.inode == inode {
			return s.number
		}
	}
	return -1
}
