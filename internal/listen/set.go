// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Inherited is a socket that this process was started with, by its number and its LISTEN_FDNAMES entry.
type Inherited struct {
	Name string
	FD   int
}

// Set is the fleet's sockets in the order in which workers get them. Its methods are for one goroutine; Socket.Queue is
// for all.
type Set struct {
	Sockets []*Socket // all named; one for each --listen and each that was handed down

	options Options
	ready   []bool // as Steer was told
	told    bool   // that steering is refused
}

// Open binds every spec and takes over every inherited socket. A --listen with the address of an inherited socket is
// that socket; the other inherited ones follow the --listen ones. The Set owns the descriptors of all of them; on an
// error everything is closed, but for an fd:// that turned out to be something else.
func Open(specs []Spec, inherited []Inherited, o Options) (*Set, error) {
	o.Slots = max(o.Slots, 1)
	set := &Set{options: o}
	rest, err := adoptAll(inherited)
	if err == nil {
		err = set.open(specs, &rest)
	}
	if err != nil {
		set.Sockets = append(set.Sockets, rest...)
		set.Close()
		return nil, err
	}
	return set, nil
}

func (set *Set) open(specs []Spec, rest *[]*Socket) error {
	for _, spec := range specs {
		named := func(s *Socket) bool { return spec.Name != "" && spec.Name == s.Name }
		if i := slices.IndexFunc(*rest, named); i >= 0 && !spec.isAt((*rest)[i]) {
			return fmt.Errorf("cannot listen on %s=%s: a socket called %s was handed down, and it is at %s; "+
				"use that address or another name", spec.Name, spec.Address, spec.Name, (*rest)[i].Address)
		}
		s := take(rest, spec.isAt)
		if s == nil {
			var err error
			if s, err = set.bind(spec); err != nil {
				return err
			}
		}
		if spec.Name != "" {
			s.Name = spec.Name
		}
		set.Sockets = append(set.Sockets, s)
	}
	set.Sockets = append(set.Sockets, *rest...)
	*rest = nil
	return nameAll(set.Sockets)
}

// isAt tells whether an inherited socket has the address that the spec asks for.
func (s Spec) isAt(socket *Socket) bool {
	switch s.Network {
	case "fd":
		return s.Address == strconv.Itoa(socket.ends[0].fd)
	case "unix":
		return socket.Address == "unix:"+s.Address
	}
	want, err := net.ResolveTCPAddr("tcp", s.Address)
	have, err2 := net.ResolveTCPAddr("tcp", socket.Address)
	if err != nil || err2 != nil || socket.Port == 0 {
		return false
	}
	everywhere := len(want.IP) == 0 || want.IP.IsUnspecified()
	return want.Port == have.Port && (want.IP.Equal(have.IP) || everywhere && have.IP.IsUnspecified())
}

func take(list *[]*Socket, want func(*Socket) bool) *Socket {
	i := slices.IndexFunc(*list, want)
	if i < 0 {
		return nil
	}
	s := (*list)[i]
	*list = slices.Delete(*list, i, i+1)
	return s
}

// nameAll gives the unnamed ones their names, http, http2, http3 …, and refuses a name that stands twice: CheckNames cannot
// know what inherited ones are called.
func nameAll(sockets []*Socket) error {
	used := make(map[string]bool)
	for _, s := range sockets {
		if s.Name != "" && used[s.Name] {
			return fmt.Errorf("cannot use --listen name %q twice: give each its own NAME=", s.Name)
		}
		used[s.Name] = true
	}
	for _, s := range sockets {
		if s.Name == "" {
			s.Name = freeName("http", used)
		}
	}
	return nil
}

// freeName returns name, or else name2, name3 …, and marks it as used.
func freeName(name string, used map[string]bool) string {
	free := name
	for n := 2; used[free]; n++ {
		free = name + strconv.Itoa(n)
	}
	used[free] = true
	return free
}

// Notes are what the log should say once about these sockets.
func (set *Set) Notes() []string {
	var notes []string
	var shared []string
	for _, s := range set.Sockets {
		if s.Accept == Shared {
			shared = append(shared, s.Name)
		}
		if strings.HasPrefix(s.Address, "unix:@") && set.options.UnixMode != 0 {
			notes = append(notes, s.Address+" has no file and so no mode: every process of this network namespace may connect")
		}
	}
	if set.options.Accept == Reuseport && shared != nil {
		notes = append(notes, "all workers share "+strings.Join(shared, ", ")+": "+
			"unix sockets and sockets that were handed down cannot be one for each worker (reuseport)")
	}
	return notes
}

// Close closes every socket and removes the files of unix sockets that were made here.
func (set *Set) Close() {
	for _, s := range set.Sockets {
		s.close()
	}
	set.Sockets = nil
}

// bind makes the socket of one --listen.
func (set *Set) bind(spec Spec) (*Socket, error) {
	switch spec.Network {
	case "fd":
		return set.adoptFD(spec)
	case "unix":
		return bindUnix(spec, set.options.UnixMode)
	}
	return set.bindTCP(spec)
}

// owner returns the socket of this set for which is holds.
func (set *Set) owner(is func(*Socket) bool) *Socket {
	if i := slices.IndexFunc(set.Sockets, is); i >= 0 {
		return set.Sockets[i]
	}
	return nil
}

// adoptFD takes over the descriptor of an fd://. What is close-on-exec was opened here, not handed down: a slip of the
// finger must not give our own sockets to the workers.
func (set *Set) adoptFD(spec Spec) (*Socket, error) {
	fd, err := strconv.Atoi(spec.Address)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on fd://%s: it is not a number", spec.Address)
	}
	if set.owner(func(s *Socket) bool { return s.ends[0].fd == fd }) != nil {
		return nil, fmt.Errorf("cannot listen on fd://%d twice: give each --listen its own", fd)
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC != 0 {
		return nil, fmt.Errorf("cannot listen on fd://%d: the parent did not hand it down; "+
			"see that it is open there and not close-on-exec", fd)
	}
	return adopt(spec.Name, fd)
}
