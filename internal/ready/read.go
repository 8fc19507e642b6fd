// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package ready

// Reading /proc by bare system calls: three for a file where os.ReadFile makes six, and into buffers that are kept.

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// textMax bounds what is read of one file: an epoll instance has 80 bytes for each of its descriptors.
const textMax = 8 << 20

// list opens the directory path, which the caller closes, and fills l.names.
func (l *looker) list(path string) (fd int, err error) {
	fd, err = open(unix.AT_FDCWD, path, unix.O_DIRECTORY)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", path, err)
	}
	l.names = l.names[:0]
	l.text = slices.Grow(l.text[:0], 4096)
	for {
		buf := l.text[:cap(l.text)]
		n, err := again(func() (int, error) { return unix.ReadDirent(fd, buf) })
		if err != nil {
			unix.Close(fd)
			return -1, fmt.Errorf("read %s: %w", path, err)
		}
		if n == 0 {
			return fd, nil
		}
		_, _, l.names = unix.ParseDirent(buf[:n], -1, l.names)
	}
}

// link returns the target of the link name in the directory dirfd (path is its name, for errors), valid until the next
// call.
func (l *looker) link(dirfd int, path, name string) ([]byte, error) {
	l.links = slices.Grow(l.links[:0], 128)
	buf := l.links[:cap(l.links)] // cut where longer: none of the targets we know is
	n, err := again(func() (int, error) { return unix.Readlinkat(dirfd, name, buf) })
	if err != nil {
		return nil, fmt.Errorf("read %s/%s: %w", path, name, err)
	}
	return buf[:n], nil
}

// read returns the text of the file name in the directory dirfd, valid until the next call.
func (l *looker) read(dirfd int, name string) ([]byte, error) {
	fd, err := open(dirfd, name, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	defer unix.Close(fd)
	l.text = l.text[:0]
	for {
		l.text = slices.Grow(l.text, 4096)
		free := l.text[len(l.text):cap(l.text)]
		n, err := again(func() (int, error) { return unix.Read(fd, free) })
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		if n == 0 || len(l.text) > textMax {
			return l.text, nil
		}
		l.text = l.text[:len(l.text)+n]
	}
}

// memory is a process's /proc/PID/mem, opened at the first read.
type memory struct {
	path string
	fd   int // -1 until opened
	buf  []byte
}

// read returns size bytes at address, valid until the next call; nil if that is not readable memory (any more). The
// error means that preforkd may not look.
func (m *memory) read(address uint64, size int) ([]byte, error) {
	if m.fd < 0 {
		fd, err := open(unix.AT_FDCWD, m.path, 0)
		if err != nil {
			if gone(err) {
				return nil, nil
			}
			return nil, fmt.Errorf("open %s: %w", m.path, err)
		}
		m.fd = fd
	}
	m.buf = slices.Grow(m.buf[:0], size)[:size]
	n, err := again(func() (int, error) { return unix.Pread(m.fd, m.buf, int64(address)) })
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		return nil, fmt.Errorf("read %s: %w", m.path, err)
	}
	if err != nil || n < size {
		return nil, nil
	}
	return m.buf, nil
}

func (m *memory) close() {
	if m.fd >= 0 {
		unix.Close(m.fd)
	}
}

func open(dirfd int, name string, flags int) (int, error) {
	return again(func() (int, error) { return unix.Openat(dirfd, name, unix.O_RDONLY|unix.O_CLOEXEC|flags, 0) })
}

// again repeats a call that a signal interrupted: Go preempts goroutines by signals.
func again(do func() (int, error)) (int, error) {
	for {
		n, err := do()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
