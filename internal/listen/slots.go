// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package listen

// What happens to the sockets as workers come and go.

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Listen makes every socket of a slot accept connections into its queue. It is called before each start of a worker: a
// worker that called shutdown(2) on a socket took it out of LISTEN for all who share it and come after it, and this
// brings it back.
func (set *Set) Listen(slot int) error {
	if slot >= set.options.Slots && set.options.Accept == Reuseport {
		return fmt.Errorf("cannot listen for slot %d: there are %d; resize first", slot, set.options.Slots)
	}
	for _, s := range set.Sockets {
		if err := s.listen(slot); err != nil {
			return err
		}
	}
	set.steer() // a socket has another place in its group than before
	return nil
}

// FDs are the descriptors that the worker of a slot gets, one for each of Sockets: close-on-exec here, owned by the
// Set. With Reuseport there must be such a slot, as after Listen.
func (set *Set) FDs(slot int) []int {
	fds := make([]int, len(set.Sockets))
	for i, s := range set.Sockets {
		fds[i] = s.end(slot).fd
	}
	return fds
}

// Inodes are the inode numbers of FDs, in order: what the worker of this slot waits on.
func (set *Set) Inodes(slot int) []uint64 {
	inodes := make([]uint64, len(set.Sockets))
	for i, s := range set.Sockets {
		inodes[i] = s.end(slot).inode
	}
	return inodes
}

// Dial is where clients reach the sockets, in order, as "NETWORK ADDRESS" for net.Dial: "tcp 127.0.0.1:8000",
// "unix /run/app.sock".
func (set *Set) Dial() []string {
	var list []string
	for _, s := range set.Sockets {
		if path, ok := strings.CutPrefix(s.Address, "unix:"); ok {
			list = append(list, "unix "+path)
		} else if s.Port != 0 { // not of a family that we do not know
			list = append(list, "tcp "+s.Address)
		}
	}
	return list
}

// Blocking sets the sockets that all workers share, the slot's own ones or both to blocking mode, as systemd hands
// sockets over. The mode belongs to the open socket: it must not change while another process lives that uses it.
func (set *Set) Blocking(slot int, shared, own bool) {
	for _, s := range set.Sockets {
		if shared && s.Accept == Shared || own && s.Accept == Reuseport {
			_ = unix.SetNonblock(s.end(slot).fd, false) // fails on nothing that is open
		}
	}
}

// Resize changes the number of slots. New slots get sockets, which listen after Listen. Those of slots that are gone
// are shut down and closed, whoever else has them open: their workers should have ended, and not be ready for Steer, so
// that nothing new has come. What waits there still is reset unless MigrateRequests. An error leaves the number as it
// was.
func (set *Set) Resize(slots int) error {
	slots = max(slots, 1)
	if len(set.ready) > slots {
		set.ready = set.ready[:slots]
	}
	for _, s := range set.Sockets {
		if s.group == nil {
			continue
		}
		if err := s.resize(slots, set.ready); err != nil {
			for _, s := range set.Sockets {
				if s.group != nil {
					_ = s.resize(set.options.Slots, set.ready) // closing does not fail
				}
			}
			return err
		}
	}
	set.options.Slots = slots
	set.steer()
	return nil
}

// Steer sends new connections to those slots' own sockets that are ready, and to all that listen if none is; it does
// nothing where that is so already. Slots beyond the list are not ready. An error says that the kernel refuses: then it
// spreads connections over all slots, and those at a slot without a worker wait for the next one. It is told once.
func (set *Set) Steer(ready []bool) error {
	set.ready = slices.Clone(ready)
	err := set.steer()
	if err == nil || set.told {
		return nil
	}
	set.told = true
	return err
}

func (set *Set) steer() error {
	var first error
	for _, s := range set.Sockets {
		if s.group == nil {
			continue
		}
		if err := s.group.steer(set.ready); err != nil && first == nil {
			first = fmt.Errorf("cannot steer connections at %s around slots without a ready worker, "+
				"where they wait for the next one: %v; use --accept shared if that matters", s.Address, err)
		}
	}
	return first
}
