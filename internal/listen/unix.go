// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// bindUnix binds a path, or a name of the abstract namespace if it begins with "@". A socket file that nobody is bound
// to is the left-over of a killed process and is removed. The file has its mode before anybody can connect.
func bindUnix(spec Spec, mode fs.FileMode) (*Socket, error) {
	path := spec.Address
	abstract := strings.HasPrefix(path, "@")
	if !abstract {
		if err := clearStale(path); err != nil {
			return nil, fmt.Errorf("cannot listen on unix:%s: %v", path, err)
		}
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		if err = unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
			unix.Close(fd)
		}
	}
	if errors.Is(err, unix.EADDRINUSE) {
		err = errTaken
	}
	if err != nil {
		return nil, fmt.Errorf("cannot listen on unix:%s: %v", path, err)
	}
	s, err := describe(spec.Name, fd)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	s.Address = "unix:" + path
	if !abstract {
		s.unlink = path
		s.file, _ = os.Lstat(path) // nil is no file's: then nothing is removed at the end
		if err := setMode(path, mode); err != nil {
			s.close()
			return nil, fmt.Errorf("cannot set the mode of unix:%s: %v", path, err)
		}
	}
	return s, nil
}

// setMode changes the mode of a socket's file, not of what a symbolic link in its place may lead to.
func setMode(path string, mode fs.FileMode) error {
	if mode == 0 {
		return nil
	}
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return errors.New("another process has replaced the file")
	}
	// fchmod(2) refuses such a descriptor, and fchmodat2(2) is new in Linux 6.6.
	return unix.Chmod("/proc/self/fd/"+strconv.Itoa(fd), uint32(mode.Perm()))
}

var errTaken = errors.New("another process listens there; stop it or use another path")

func clearStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return errors.Unwrap(err)
	}
	if info.Mode()&os.ModeSocket == 0 {
		return errors.New("a file of another kind is there; remove it or use another path")
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
	if !errors.Is(err, unix.ECONNREFUSED) || isBound(path) {
		return errTaken
	}
	return os.Remove(path)
}

// isBound tells whether a process is bound to path without listening yet, as preforkd is during its load: such a socket
// refuses connections like one that is gone.
func isBound(path string) bool {
	text, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		return false
	}
	dir, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return false
	}
	for _, m := range unconnected.FindAllSubmatch(text, -1) {
		other := string(m[1])
		if filepath.Base(other) != filepath.Base(path) {
			continue
		}
		if theirs, err := os.Stat(filepath.Dir(other)); err == nil && os.SameFile(dir, theirs) {
			return true
		}
	}
	return false
}

// unconnected finds the paths of bound sockets, listening ones included. The columns of /proc/net/unix are Num RefCount
// Protocol Flags Type St Inode Path; the state 01 is "not connected".
var unconnected = regexp.MustCompile(`(?m)^(?:\S+ ){5}01 +\d+ (.+)$`)
