// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

// This file reads pipes, sockets and terminals in a way that a cancelled context ends.

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// setPipeSize is F_SETPIPE_SZ (Linux 2.6.35). A pipe of 1 MiB, the most that an ordinary user may ask for, is a third
// faster than the usual 64 KiB; where it is refused, or not a pipe, nothing is lost.
const setPipeSize = 1031

var errNoStdin = errors.New("is closed or empty: pipe the data into preforkd, or name a file")

// openStdin reads standard input: a file that was redirected, or whatever else comes. It stays open for its owner.
func openStdin(ctx context.Context, stdin *os.File) (source, error) {
	if stdin == nil {
		return nil, errNoStdin
	}
	info, err := stdin.Stat()
	if err != nil {
		return nil, errNoStdin
	}
	keep := func() error { return nil }
	if info.Mode().IsRegular() {
		src, err := newFile(stdin, keep)
		if errors.Is(err, errEmpty) {
			return nil, errNoStdin
		}
		if err != nil {
			return nil, err
		}
		return src, nil
	}
	terminal := false
	if err := control(stdin, func(fd int) { terminal = term.IsTerminal(fd) }); err != nil {
		return nil, errNoStdin
	}
	if terminal {
		return nil, errors.New("is a terminal: pipe the data into preforkd (command | preforkd …), or name a file")
	}
	return newPipe(ctx, stdin, keep, errNoStdin)
}

// pipe is a file whose reads may block for ever. The Go runtime cannot interrupt a read of one that it was started
// with, because that is usually in blocking mode, and this mode is shared with the processes that gave it: so poll(2)
// waits, for the file or for a second pipe that the context closes, and read(2) is called only when it will not block.
type pipe struct {
	f       *os.File
	close   func() error
	empty   error    // what Finish says when nothing came
	wake    *os.File // ready to be read once waker is closed
	wakeFD  int32
	waker   *os.File
	unwatch func() bool
}

func newPipe(ctx context.Context, f *os.File, closeFile func() error, empty error) (*pipe, error) {
	wake, waker, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	_ = control(f, func(fd int) { _, _ = unix.FcntlInt(uintptr(fd), setPipeSize, 1<<20) })
	return &pipe{
		f: f, close: closeFile, empty: empty, wake: wake, wakeFD: int32(wake.Fd()), waker: waker,
		unwatch: context.AfterFunc(ctx, func() { _ = waker.Close() }),
	}, nil
}

func (s *pipe) Size() int64 { return -1 }

func (s *pipe) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	if closed := control(s.f, func(fd int) { n, err = readReady(fd, s.wakeFD, p) }); closed != nil {
		return 0, closed
	}
	return n, err
}

// readReady reads what there is, once there is something; it gives up when the other end of wake is closed.
func readReady(fd int, wake int32, p []byte) (int, error) {
	for {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: wake, Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return 0, err
		}
		if fds[1].Revents != 0 {
			return 0, context.Canceled
		}
		if fds[0].Revents == 0 {
			continue
		}
		switch n, err := unix.Read(fd, p); {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN): // somebody else read it
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (s *pipe) Finish(n int64) error {
	if n == 0 {
		return s.empty
	}
	return nil
}

func (s *pipe) Close() error {
	s.unwatch()
	_ = s.waker.Close()
	return errors.Join(s.wake.Close(), s.close())
}

// control calls f with the descriptor, which stays valid meanwhile. (*os.File).Fd would make the file blocking for
// everybody who shares it.
func control(file *os.File, f func(fd int)) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	return conn.Control(func(fd uintptr) { f(int(fd)) })
}
