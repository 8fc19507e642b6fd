// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package ready

// What a process has open: our listening sockets, its epoll instances, and what those watch.

import (
	"bytes"
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
			inode, ok := socket(link)
			if !ok {
				continue
			}
			if !slices.Contains(l.inodes, inode) {
				l.sockets = append(l.sockets, inode)
			} else if number, err := strconv.Atoi(name); err == nil {
				l.listen = append(l.listen, number)
			}
		}
	}
	return uring, nil
}

// socket returns the inode in link, a descriptor's target, if it is a socket: "socket:[21530]".
func socket(link []byte) (inode uint64, ok bool) {
	digits, ok := bytes.CutPrefix(link, []byte("socket:["))
	if !ok {
		return 0, false
	}
	inode, err := strconv.ParseUint(string(bytes.TrimSuffix(digits, []byte("]"))), 10, 64)
	return inode, err == nil
}

// watches tells whether text, the fdinfo of an epoll instance, has an entry for one of inodes that asks for input.
// Such a line reads (Linux 4.13; data is the program's own word, numbers but tfd in hexadecimal):
//
//	tfd:        3 events:       19 data:                3  pos:0 ino:541a sdev:9
//
// tfd is the number at the time of registration and may be another file by now: the inode decides. An instance inside
// another one is a descriptor of the process too and is read by itself. An entry that is disarmed (EPOLLONESHOT after
// its event, or registered with no events) does not wait.
func watches(text []byte, inodes []uint64) bool {
	for line := range bytes.Lines(text) {
		if !bytes.HasPrefix(line, []byte("tfd:")) {
			continue
		}
		inode, ok := hexAfter(line, " ino:")
		if !ok || !slices.Contains(inodes, inode) {
			continue
		}
		events, ok := hexAfter(line, " events:")
		if ok && events&input != 0 {
			return true
		}
	}
	return false
}

// hexAfter returns the hexadecimal number that follows key in line.
func hexAfter(line []byte, key string) (uint64, bool) {
	_, rest, ok := bytes.Cut(line, []byte(key))
	if !ok {
		return 0, false
	}
	rest = bytes.TrimLeft(rest, " ")
	if end := bytes.IndexAny(rest, " \n"); end >= 0 {
		rest = rest[:end]
	}
	n, err := strconv.ParseUint(string(rest), 16, 64)
	return n, err == nil
}
