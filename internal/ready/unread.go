// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package ready

// What a worker has accepted and not read: an event loop that is busy with something else comes to it later.

import (
	"fmt"
	"strconv"
)

// connection is one of a listener's, of any process.
type connection struct {
	inode  uint64
	unread uint32 // bytes that have come and nobody has read
}

// Unread returns the inodes of the TCP connections of the listening sockets inodes that the processes pids have accepted and
// on which bytes wait to be read. Those of unix sockets are not told. proc is the mount point of procfs, of this machine.
func Unread(proc string, pids []int, inodes []uint64) (list []uint64, err error) {
	all, err := connections(inodes)
	if err != nil {
		return nil, fmt.Errorf("cannot list the connections: %w", err)
	}
	waiting := map[uint64]bool{}
	for _, c := range all {
		if c.unread > 0 {
			waiting[c.inode] = true
		}
	}
	if len(waiting) == 0 {
		return nil, nil
	}
	l := looker{proc: proc, inodes: inodes}
	for _, pid := range pids {
		if _, err := l.descriptors(proc + "/" + strconv.Itoa(pid) + "/fd"); err != nil {
			return nil, fmt.Errorf("cannot look at process %d: %w", pid, err)
		}
		for _, s := range l.sockets {
			if waiting[s.inode] {
				list = append(list, s.inode)
				delete(waiting, s.inode) // its other processes may have it too
			}
		}
	}
	return list, nil
}
