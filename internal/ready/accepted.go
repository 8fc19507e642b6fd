// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package ready

// Has a process accepted a connection? Under full load a server that handles one request at a time never waits: a healthy
// gunicorn sync worker that joined a saturated fleet was not seen waiting in ten seconds and 470 requests. An accepted
// connection has the listener's local port or path, as no connection made by the process itself can have (the kernel
// gives no port that somebody is bound to; the client end of a unix socket has no path).

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

// accepted tells whether one of l.sockets comes from one of the listening sockets. It costs a walk over all sockets of
// the network namespace. A table that cannot be read (tcp6 where IPv6 is off) shows nothing.
func (l *looker) accepted(dir string) bool {
	if len(l.sockets) == 0 {
		return false
	}
	for _, t := range [...]table{
		{"tcp", 1, 3, 9, "0A"}, {"tcp6", 1, 3, 9, "0A"}, {"unix", 7, 5, 6, "01"},
	} {
		text, err := l.read(unix.AT_FDCWD, dir+"/net/"+t.name)
		if err == nil && l.acceptedIn(t, text) {
			return true
		}
	}
	return false
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
		} else if slices.Contains(l.sockets, inode) && string(words[t.state]) != t.listens {
			to = append(to, string(name))
		}
	}
	return slices.ContainsFunc(to, func(name string) bool { return slices.Contains(from, name) })
}
