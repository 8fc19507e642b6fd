// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Socket is one bound socket, owned by its Set.
type Socket struct {
	Name    string
	Address string // as people write it, with the real port: "127.0.0.1:8000", "unix:/run/app.sock"
	Port    int    // 0 for a unix socket
	Inode   uint64 // as in "socket:[INODE]" of /proc/PID/fd
	fd      int
	bound   bool        // a TCP socket that we bound ourselves
	unlink  string      // the path that we made and remove
	file    fs.FileInfo // what was there when we had made it
	mu      sync.Mutex  // of closed
	closed  bool
}

// FD is the socket's descriptor in this process: close-on-exec, blocking, owned by the Set.
func (s *Socket) FD() int { return s.fd }

// Queue is the number of connections that wait to be accepted; false where the kernel does not tell (unix sockets).
func (s *Socket) Queue() (int, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, false // the number may be another file by now
	}
	// For a socket in LISTEN, tcpi_unacked is the length of the accept queue (tcp_get_info, net/ipv4/tcp.c).
	info, err := unix.GetsockoptTCPInfo(s.fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0, false
	}
	return int(info.Unacked), true
}

func (s *Socket) listen() error {
	if s.bound {
		// Connections inherit it, so that those that linger in TIME_WAIT do not keep a next run from binding. Set only
		// now, since it lets another program bind a port that nobody listens on yet: see boundTCP.
		if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return err
		}
	}
	return unix.Listen(s.fd, 65535) // the kernel caps the backlog at net.core.somaxconn
}

func (s *Socket) close() {
	s.mu.Lock()
	s.closed = true
	unix.Close(s.fd)
	s.mu.Unlock()
	if s.unlink == "" {
		return
	}
	if file, err := os.Lstat(s.unlink); err == nil && os.SameFile(file, s.file) {
		os.Remove(s.unlink)
	}
}
