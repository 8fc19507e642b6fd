// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"fmt"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Socket is one --listen or one socket that was handed down. Behind it is one open socket, or with Reuseport one for
// each slot. It is owned by its Set.
type Socket struct {
	Name    string
	Address string // as people write it, with the real port: "127.0.0.1:8000", "unix:/run/app.sock"
	Port    int    // 0 for a unix socket
	Accept  Accept

	place  *place      // of a TCP socket that we bound ourselves
	unlink string      // the path that we made and remove
	file   fs.FileInfo // what was there when we had made it
	group  *group      // with Reuseport

	mu   sync.Mutex // of ends and of what is open: Queue may be called by anybody, the rest by the Set's owner only
	ends []*end     // one, or one for each slot
}

// end is one open socket.
type end struct {
	slot  int // 0 if it is shared
	fd    int
	inode uint64 // as in "socket:[INODE]" of /proc/PID/fd
	bound bool   // looked at with Reuseport only
}

func newEnd(slot, fd int) (*end, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	return &end{slot: slot, fd: fd, inode: st.Ino}, nil
}

// end is the open socket that the worker of a slot gets.
func (s *Socket) end(slot int) *end {
	if s.Accept == Shared {
		return s.ends[0]
	}
	return s.ends[slot]
}

// Queue is the number of connections that wait to be accepted, at all slots together; false where the kernel does not
// tell (unix sockets). It may be called at any time, by any goroutine.
func (s *Socket) Queue() (int, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := 0
	for _, e := range s.ends {
		// For a socket in LISTEN, tcpi_unacked is the length of the accept queue (tcp_get_info, net/ipv4/tcp.c).
		info, err := unix.GetsockoptTCPInfo(e.fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return 0, false
		}
		sum += int(info.Unacked)
	}
	return sum, len(s.ends) > 0
}

// listen makes the socket of a slot accept connections into its queue.
func (s *Socket) listen(slot int) error {
	var err error
	if s.group != nil {
		err = s.group.listen(s.ends[slot])
	} else {
		if s.place != nil {
			err = allowReuse(s.ends[0].fd, unix.SO_REUSEADDR)
		}
		if err == nil {
			err = listen(s.ends[0].fd)
		}
	}
	if err != nil {
		return fmt.Errorf("cannot listen on %s: %v", s.Address, err)
	}
	return nil
}

func listen(fd int) error { return unix.Listen(fd, 65535) } // the kernel caps the backlog at net.core.somaxconn

func (s *Socket) close() {
	s.mu.Lock()
	for _, e := range s.ends {
		unix.Close(e.fd)
	}
	s.ends = nil // a number may be another file by now
	s.mu.Unlock()
	if s.unlink == "" {
		return
	}
	if file, err := os.Lstat(s.unlink); err == nil && os.SameFile(file, s.file) {
		os.Remove(s.unlink)
	}
}
