// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package ready

// Descriptors that come with datagrams. One kind is kept: the socket of a process that takes new versions of datasets
// itself (docs/in-place.md). All others are closed at once: sd_notify_barrier waits for that.

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// rightsMax descriptors of a datagram are received. The kernel drops the rest (a datagram may carry 253) and says so
	// with MSG_CTRUNC. One is wanted; the padding of a control message has room for two in any case.
	rightsMax = 2
	// registrationsMax are accepted in a time of registrationsIn: what a worker can make preforkd hold, or be busy with
	// closing. A master whose processes all register at the same time stays below it.
	registrationsMax = 64
	registrationsIn  = time.Minute
)

// Registration is a process that takes new versions of datasets itself.
type Registration struct {
	PID    int      // by the kernel's word; 0 when outside our pid namespace
	Takes  []string // dataset names as it sent them, printable, at least one; "*" for all
	Socket *os.File // a socket made by the user who sent it; its kind is for package handover to check
}

// names splits the value of X_PREFORKD_TAKES.
func names(value string) []string {
	list := strings.Fields(value)
	for i, name := range list {
		list[i] = printable(name)
	}
	return list
}

// allowance counts the registrations of a Notifier.
type allowance struct {
	used  int
	again <-chan time.Time // when all may be used again; nil while none is
}

// take tells whether there may be one more.
func (a *allowance) take() bool {
	select {
	case <-a.again:
		a.used, a.again = 0, nil
	default:
	}
	if a.used == registrationsMax {
		return false
	}
	if a.used++; a.again == nil {
		a.again = time.After(registrationsIn)
	}
	return true
}

// settle gives the registration in m the descriptor that came with it, or takes it out and says why. It closes the
// descriptors that are not wanted, which may take as long as the worker likes: it may have sent a TCP socket that
// lingers, or a file of its own FUSE file system. cut means that the kernel dropped some.
func (m *Message) settle(sender *unix.Ucred, fds []int, cut bool, allowed *allowance) {
	if len(m.Registrations) > 0 {
		r := &m.Registrations[0]
		m.Declined = r.problem(sender, fds, cut)
		if m.Declined == "" && !allowed.take() {
			m.Declined = fmt.Sprintf("more than %d processes of this worker did so within a minute", registrationsMax)
		}
		if m.Declined == "" {
			r.PID = int(sender.Pid)
			r.Socket = os.NewFile(uintptr(fds[0]), fmt.Sprintf("socket of process %d", r.PID))
			return
		}
		m.Registrations = nil
	}
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// problem says why a registration cannot be accepted, or nothing.
func (r *Registration) problem(sender *unix.Ucred, fds []int, cut bool) string {
	switch {
	case len(r.Takes) == 0:
		return "it names no dataset"
	case len(fds) > 1:
		return "more than one descriptor came with it"
	case cut:
		return "preforkd could not open its descriptor: too many open files"
	case len(fds) == 0:
		return "no descriptor came with it"
	}
	// A worker could connect a socket to another service and have preforkd, root perhaps, talk to that. Who made the other
	// end is told by the kernel; a socket that is not local has no such user.
	peer, err := unix.GetsockoptUcred(fds[0], unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil || peer.Uid != sender.Uid {
		return "its descriptor is not a socketpair made by the user who sent it"
	}
	return ""
}

// register adds r, in the place of one of the same process: a process has one socket.
func (m *Message) register(r Registration) {
	m.Registrations = slices.DeleteFunc(m.Registrations, func(old Registration) bool {
		same := old.PID == r.PID && r.PID != 0
		if same {
			old.Socket.Close()
		}
		return same
	})
	m.Registrations = append(m.Registrations, r)
}

// drop closes what nobody will get.
func (m *Message) drop() {
	for _, r := range m.Registrations {
		r.Socket.Close()
	}
	m.Registrations = nil
}
