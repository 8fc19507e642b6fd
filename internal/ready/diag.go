// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package ready

// The kernel's list of TCP connections, by NETLINK_SOCK_DIAG (Linux 3.3): unlike /proc/net/tcp it is filtered by state and
// port before anything is written, so 37,000 TIME_WAITs cost 4 ms instead of 90.

import (
	"encoding/binary"
	"errors"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	diagRequest  = 56 // struct inet_diag_req_v2
	diagAnswer   = 72 // struct inet_diag_msg
	diagBytecode = 1  // INET_DIAG_REQ_BYTECODE
	sourceGE     = 2  // INET_DIAG_BC_S_GE
	sourceLE     = 3  // INET_DIAG_BC_S_LE

	// Numbers of include/net/tcp_states.h, as bits.
	listening = 1 << 10
	connected = 1<<1 | 1<<4 | 1<<5 | 1<<8 | 1<<9 | 1<<11 // ESTABLISHED, FIN_WAIT1 and 2, CLOSE_WAIT, LAST_ACK, CLOSING
)

// connections returns the connections of the TCP listeners among inodes, of the network namespace that
// preforkd is in. Those in the accept queue have none yet.
func connections(inodes []uint64) (list []connection, err error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	for _, family := range [...]byte{unix.AF_INET, unix.AF_INET6} {
		var ports []uint16
		err := diag(fd, family, listening, 0, func(port uint16, inode uint64, _ uint32) {
			if slices.Contains(inodes, inode) && !slices.Contains(ports, port) {
				ports = append(ports, port)
			}
		})
		if err != nil {
			return nil, err
		}
		for _, port := range ports {
			err := diag(fd, family, connected, port, func(_ uint16, inode uint64, unread uint32) {
				list = append(list, connection{inode, unread})
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return list, nil
}

// diag calls f with the local port, the inode and the unread bytes of each TCP socket of family in one of states, bound to port unless
// that is 0.
func diag(fd int, family byte, states uint32, port uint16, f func(port uint16, inode uint64, unread uint32)) error {
	order := binary.NativeEndian
	m := make([]byte, unix.NLMSG_HDRLEN, 128)
	order.PutUint16(m[4:], unix.SOCK_DIAG_BY_FAMILY)
	order.PutUint16(m[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	m = append(m, family, unix.IPPROTO_TCP, 0, 0)
	m = order.AppendUint32(m, states)
	m = m[:unix.NLMSG_HDRLEN+diagRequest]
	if port != 0 {
		// Two comparisons, each a code with the distances to go if true and if false (past the end: refused), and its
		// argument. An equality is younger (Linux 5.7).
		m = order.AppendUint16(m, unix.SizeofNlAttr+16)
		m = order.AppendUint16(m, diagBytecode)
		for _, op := range [...]struct {
			code byte
			no   uint16
		}{{sourceGE, 20}, {sourceLE, 12}} {
			m = append(m, op.code, 8)
			m = order.AppendUint16(m, op.no)
			m = order.AppendUint16(m, 0)
			m = order.AppendUint16(m, port)
		}
	}
	order.PutUint32(m, uint32(len(m)))
	if err := unix.Sendto(fd, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	answer := make([]byte, 32<<10)
	for {
		n, err := again(func() (int, error) { n, _, err := unix.Recvfrom(fd, answer, 0); return n, err })
		if err != nil {
			return err
		}
		messages, err := syscall.ParseNetlinkMessage(answer[:n])
		if err != nil {
			return err
		}
		for _, m := range messages {
			switch {
			case m.Header.Type == unix.NLMSG_DONE:
				return nil
			case m.Header.Type == unix.NLMSG_ERROR && len(m.Data) >= 4:
				return unix.Errno(-int32(order.Uint32(m.Data)))
			case len(m.Data) < diagAnswer:
				return errors.ErrUnsupported
			}
			f(binary.BigEndian.Uint16(m.Data[4:]), uint64(order.Uint32(m.Data[68:])), order.Uint32(m.Data[56:]))
		}
	}
}
