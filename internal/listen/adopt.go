// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package listen

// Sockets that this process was started with.

import (
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// adoptAll takes over what systemd handed down. On an error none of the descriptors is left open.
func adoptAll(inherited []Inherited) ([]*Socket, error) {
	var all []*Socket
	// A unit with two ListenStream= lines hands down two sockets of one name.
	used := make(map[string]bool)
	for i, in := range inherited {
		name := cleanName(in.Name)
		if name != "" {
			name = freeName(name, used)
		}
		s, err := adopt(name, in.FD)
		if err != nil {
			for _, left := range inherited[i:] {
				unix.Close(left.FD)
			}
			return all, err
		}
		all = append(all, s)
	}
	return all, nil
}

var (
	notInName = regexp.MustCompile(`[^a-z0-9_-]+`)
	// noName is what stands in for a name: systemd's word for none, and go-systemd's where LISTEN_FDNAMES is missing.
	noName = regexp.MustCompile(`^(unknown|listen_fd_[0-9]+)$`)
)

// cleanName makes a listener's name of systemd's: a unit called Web.socket becomes web.
func cleanName(name string) string {
	name = strings.TrimSuffix(strings.ToLower(name), ".socket")
	if noName.MatchString(name) {
		return ""
	}
	return strings.TrimRight(strings.TrimLeft(notInName.ReplaceAllString(name, "-"), "0123456789_-"), "_-")
}

// adopt takes over a descriptor that this process was given: it must be a stream socket without a peer. The descriptor
// stays the caller's on an error.
func adopt(name string, fd int) (*Socket, error) {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_STREAM {
		return nil, fmt.Errorf("cannot listen on fd://%d: it is not a stream socket; see what the parent hands down", fd)
	}
	if _, err := unix.Getpeername(fd); err == nil {
		return nil, fmt.Errorf("cannot listen on fd://%d: it is a connection, not a listening socket "+
			"(systemd: set Accept=no)", fd)
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, false); err != nil {
		return nil, fmt.Errorf("cannot listen on fd://%d: %v", fd, err)
	}
	return describe(name, fd)
}

// describe asks the kernel for a socket's address and inode.
func describe(name string, fd int) (*Socket, error) {
	s := &Socket{Name: name, Address: "fd://" + strconv.Itoa(fd)}
	sa, err := unix.Getsockname(fd)
	var e *end
	if err == nil {
		e, err = newEnd(0, fd)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot listen on fd://%d: %v", fd, err)
	}
	s.ends = []*end{e}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		s.Port, s.Address = sa.Port, net.JoinHostPort(net.IP(sa.Addr[:]).String(), strconv.Itoa(sa.Port))
	case *unix.SockaddrInet6:
		s.Port, s.Address = sa.Port, net.JoinHostPort(net.IP(sa.Addr[:]).String(), strconv.Itoa(sa.Port))
	case *unix.SockaddrUnix:
		s.Address = "unix:" + sa.Name
	}
	return s, nil
}
