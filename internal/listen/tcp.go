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
	p, fd, err := claimTCP(addr)
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
	s.place = p
	if set.options.Accept == Reuseport {
		first := s.ends[0]
		first.bound = true
		s.Accept, s.group = Reuseport, &group{place: p, first: first}
		if err := s.resize(set.options.Slots, nil); err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}

// place is where TCP sockets are bound.
type place struct {
	family int
	at     unix.Sockaddr
	both   bool // an IPv6 place that serves IPv4 too
}

// claimTCP takes addr; a missing host means every address, of both families where the kernel has IPv6.
func claimTCP(addr *net.TCPAddr) (*place, int, error) {
	if ip4 := addr.IP.To4(); ip4 != nil {
		sa := &unix.SockaddrInet4{Port: addr.Port}
		copy(sa.Addr[:], ip4)
		return (&place{family: unix.AF_INET, at: sa}).claim()
	}
	sa := &unix.SockaddrInet6{Port: addr.Port}
	copy(sa.Addr[:], addr.IP.To16())
	if addr.Zone != "" {
		iface, err := net.InterfaceByName(addr.Zone)
		if err != nil {
			return nil, -1, err
		}
		sa.ZoneId = uint32(iface.Index)
	}
	p, fd, err := (&place{family: unix.AF_INET6, at: sa, both: addr.IP == nil}).claim()
	if addr.IP == nil && (errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL)) {
		return (&place{family: unix.AF_INET, at: &unix.SockaddrInet4{Port: addr.Port}}).claim()
	}
	return p, fd, err
}

// claim binds the first socket of a place. A port that the kernel chose is given back at shutdown(2), but one that was
// asked for by number is kept: so a second socket asks for the number that the first one got.
func (p *place) claim() (*place, int, error) {
	fd, err := p.bindFirst()
	if err != nil || p.port() != 0 {
		return p, fd, err
	}
	defer unix.Close(fd)
	got, err := unix.Getsockname(fd)
	if err != nil {
		return nil, -1, err
	}
	p.at = got
	second, err := p.socket()
	if err != nil {
		return nil, -1, err
	}
	// Two sockets may have a port that none listens on if both have SO_REUSEADDR; the second has it no longer than that.
	err = allowReuse(fd, unix.SO_REUSEADDR)
	if err == nil {
		err = allowReuse(second, unix.SO_REUSEADDR)
	}
	if err == nil {
		err = unix.Bind(second, p.at)
	}
	if err == nil {
		err = unix.SetsockoptInt(second, unix.SOL_SOCKET, unix.SO_REUSEADDR, 0)
	}
	if err != nil {
		unix.Close(second)
		return nil, -1, err
	}
	return p, second, nil
}

func (p *place) port() int {
	if sa, ok := p.at.(*unix.SockaddrInet4); ok {
		return sa.Port
	}
	return p.at.(*unix.SockaddrInet6).Port
}

// bindFirst binds first without SO_REUSEADDR: with it, two programs can both bind a port that neither listens on yet, and
// one of them would fail only after its load. It is needed all the same where connections of a previous run linger.
//
// For the same reason it binds without SO_REUSEPORT, which the kernel allows to be set later: a port that another
// program has is in use, whatever options that program has set, and until we listen nobody can join us. What is left:
// a program that has bound with both options and does not listen yet is not seen if connections linger, too.
func (p *place) bindFirst() (int, error) {
	fd, err := p.socket()
	if err != nil {
		return -1, err
	}
	err = unix.Bind(fd, p.at)
	if errors.Is(err, unix.EADDRINUSE) {
		err = allowReuse(fd, unix.SO_REUSEADDR)
		if err == nil {
			err = unix.Bind(fd, p.at)
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// socket makes a socket that may be bound at the place.
func (p *place) socket() (int, error) {
	fd, err := unix.Socket(p.family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	// Accepted sockets inherit it. uvicorn takes what --fd names for a unix socket and leaves Nagle's algorithm on: each
	// answer on a kept connection then waits 40 ms for the client's delayed ACK.
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		unix.Close(fd)
		return -1, err
	}
	if p.family != unix.AF_INET6 {
		return fd, nil
	}
	only := 1
	if p.both {
		only = 0
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// allowReuse sets SO_REUSEADDR or SO_REUSEPORT.
func allowReuse(fd, option int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, 1) }
