// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package ready

// What a process has open: our listening sockets, its epoll instances, and what those watch.

import (
	"bytes"
	"iter"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// input is what a waiter for connections asks for; poll and epoll share these bits.
const input = unix.EPOLLIN | unix.EPOLLRDNORM

// descriptors fills l.listen, l.sockets and l.epolls from the links in dir, a /proc/PID/fd, and tells whether one is an
// io_uring.
func (l *looker) descriptors(dir string) (uring bool, err error) {
	l.listen, l.sockets, l.epolls = l.listen[:0], l.sockets[:0], l.epolls[:0]
	fd, err := l.list(dir)
	if err != nil {
		if gone(err) {
			return false, nil
		}
		return false, err
	}
	defer unix.Close(fd)
	for _, name := range l.names {
		link, err := l.link(fd, dir, name)
		if err != nil {
			if gone(err) {
				continue
			}
			return false, err
		}
		switch string(link) {
		case "anon_inode:[eventpoll]":
			l.epolls = append(l.epolls, name)
		case "anon_inode:[io_uring]":
			uring = true
		default:
			inode, ok := socketInode(link)
			number, err := strconv.Atoi(name)
			if !ok || err != nil {
				continue
			}
			if s := (socket{number, inode}); slices.Contains(l.inodes, inode) {
				l.listen = append(l.listen, s)
			} else {
				l.sockets = append(l.sockets, s)
			}
		}
	}
	return uring, nil
}

// socketInode returns the inode in link, a descriptor's target, if it is a socket: "socket:[21530]".
func socketInode(link []byte) (inode uint64, ok bool) {
	digits, ok := bytes.CutPrefix(link, []byte("socket:["))
	if !ok {
		return 0, false
	}
	inode, err := strconv.ParseUint(string(bytes.TrimSuffix(digits, []byte("]"))), 10, 64)
	return inode, err == nil
}

// watches tells whether text, the fdinfo of an epoll instance, has an entry for one of inodes that asks for input.
func watches(text []byte, inodes []uint64) bool {
	for range watched(text, inodes) {
		return true
	}
	return false
}

// watched yields the entries for one of inodes that ask for input in text, the fdinfo of an epoll instance. Such a line
// reads (Linux 4.13; all numbers but tfd are hexadecimal):
//
//	tfd:        3 events:       19 data:                3  pos:0 ino:541a sdev:9
//
// tfd is the number at the time of registration and may be another file by now: the inode decides. An instance inside
// another one is a descriptor of the process too and is read by itself. An entry that is disarmed (EPOLLONESHOT after
// its event, or registered with no events) does not wait.
func watched(text []byte, inodes []uint64) iter.Seq[Watcher] {
	return func(yield func(Watcher) bool) {
		for line := range bytes.Lines(text) {
			fd, isEntry := numberAfter(line, "tfd:", 10)
			inode, hasInode := numberAfter(line, " ino:", 16)
			events, hasEvents := numberAfter(line, " events:", 16)
			data, hasData := numberAfter(line, " data:", 16)
			if !isEntry || !hasInode || !hasEvents || !hasData || events&input == 0 || !slices.Contains(inodes, inode) {
				continue
			}
			if !yield(Watcher{FD: int(fd), Inode: inode, Events: uint32(events), Data: data}) {
				return
			}
		}
	}
}

// numberAfter returns the number that follows key in line.
func numberAfter(line []byte, key string, base int) (uint64, bool) {
	_, rest, ok := bytes.Cut(line, []byte(key))
	if !ok {
		return 0, false
	}
	rest = bytes.TrimLeft(rest, " ")
	if end := bytes.IndexAny(rest, " \n"); end >= 0 {
		rest = rest[:end]
	}
	n, err := strconv.ParseUint(string(rest), base, 64)
	return n, err == nil
}
