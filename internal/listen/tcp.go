// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

func (set *Set) bindTCP(spec Spec) (*Socket, error) {
	addr, err := net.ResolveTCPAddr("tcp", spec.Address)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %v", spec.Address, err)
	}
	fd, err := tcpSocket(addr)
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		if s := set.owner(func(s *Socket) bool { return s.Port == addr.Port }); s != nil {
			return nil, fmt.Errorf("cannot listen on %s: %s has this port already; give each --listen its own",
				spec.Address, s.Address)
		}
		return nil, fmt.Errorf("cannot listen on %s: the port is in use; "+
			"stop the program that has it (ss -ltnp shows it), or use another port", spec.Address)
	case errors.Is(err, unix.EACCES):
		return nil, fmt.Errorf("cannot listen on %s: permission denied; "+
			"low ports need root or CAP_NET_BIND_SERVICE, use one above 1023", spec.Address)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return nil, fmt.Errorf("cannot listen on %s: this machine has no such address; ip addr shows which it has",
			spec.Address)
	case err != nil:
		return nil, fmt.Errorf("cannot listen on %s: %v", spec.Address, err)
	}
	s, err := describe(spec.Name, fd)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	s.bound = true
	return s, nil
}

// tcpSocket binds addr; a missing host means every address, of both families where the kernel has IPv6.
func tcpSocket(addr *net.TCPAddr) (int, error) {
	if ip4 := addr.IP.To4(); ip4 != nil {
		sa := &unix.SockaddrInet4{Port: addr.Port}
		copy(sa.Addr[:], ip4)
		return boundTCP(unix.AF_INET, sa, false)
	}
	sa := &unix.SockaddrInet6{Port: addr.Port}
	copy(sa.Addr[:], addr.IP.To16())
	if addr.Zone != "" {
		iface, err := net.InterfaceByName(addr.Zone)
		if err != nil {
			return -1, err
		}
		sa.ZoneId = uint32(iface.Index)
	}
	fd, err := boundTCP(unix.AF_INET6, sa, addr.IP == nil)
	if addr.IP == nil && (errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL)) {
		return boundTCP(unix.AF_INET, &unix.SockaddrInet4{Port: addr.Port}, false)
	}
	return fd, err
}

// boundTCP binds first without SO_REUSEADDR: with it, two programs can both bind a port that neither listens on yet,
// and one of them would fail only after its load. It is needed all the same where connections of a previous run linger.
func boundTCP(family int, sa unix.Sockaddr, bothFamilies bool) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if family == unix.AF_INET6 {
		only := 1
		if bothFamilies {
			only = 0
		}
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only)
	}
	if err == nil {
		err = unix.Bind(fd, sa)
	}
	if errors.Is(err, unix.EADDRINUSE) {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		if err == nil {
			err = unix.Bind(fd, sa)
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
