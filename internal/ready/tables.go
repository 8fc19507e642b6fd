// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package ready

// Accepted connections where preforkd may not duplicate descriptors: by the kernel's lists of sockets.

import (
	"bytes"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// table says where the words of a line of /proc/PID/net/NAME are.
type table struct {
	name                string
	local, state, inode int
	listens             string // the state of a socket that listens
}

// acceptedByList tells whether one of l.sockets comes from one of the listening sockets. A table that cannot be read
// (tcp6 where IPv6 is off) shows nothing.
func (l *looker) acceptedByList(dir string) bool {
	tables, walk := []table{{"unix", 7, 5, 6, "01"}}, l.walk
	if l.proc == procfs {
		list, err := connections(l.inodes)
		if err == nil && l.hasOneOf(list, dir) {
			return true
		}
		walk = walk && err != nil
	}
	if walk {
		tables = append(tables, table{"tcp", 1, 3, 9, "0A"}, table{"tcp6", 1, 3, 9, "0A"})
	}
	for _, t := range tables {
		text, err := l.read(unix.AT_FDCWD, dir+"/net/"+t.name)
		if err == nil && l.acceptedIn(t, text) {
			return true
		}
	}
	return false
}

// hasOneOf tells whether one of list was a socket of the process before that list was made, or is one now: a connection
// that lives for a millisecond may have been too late for the first, or for the list.
func (l *looker) hasOneOf(list []connection, dir string) bool {
	if len(list) == 0 {
		return false
	}
	one := func(c connection) bool { return holds(l.sockets, c.inode) }
	if slices.ContainsFunc(list, one) {
		return true
	}
	_, err := l.descriptors(dir + "/fd")
	return err == nil && slices.ContainsFunc(list, one)
}

// acceptedIn looks through one table, whose lines are in no order that helps.
func (l *looker) acceptedIn(t table, text []byte) bool {
	var from, to []string // where our sockets listen, and the near ends of the process's connections
	for line := range bytes.Lines(text) {
		words := bytes.Fields(line)
		if len(words) <= max(t.local, t.inode) {
			continue
		}
		inode, err := strconv.ParseUint(string(words[t.inode]), 10, 64)
		if err != nil {
			continue
		}
		name := words[t.local]
		if t.local > t.inode {
			name = bytes.Join(words[t.local:], []byte(" ")) // a path may have spaces
		} else {
			name = name[bytes.LastIndexByte(name, ':')+1:] // the port: a listener's address may be 0
		}
		if slices.Contains(l.inodes, inode) {
			from = append(from, string(name))
		} else if holds(l.sockets, inode) && string(words[t.state]) != t.listens {
			to = append(to, string(name))
		}
	}
	return slices.ContainsFunc(to, func(name string) bool { return slices.Contains(from, name) })
}
