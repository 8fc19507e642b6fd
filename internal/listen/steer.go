// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package listen

// The program that chooses a socket for each new connection.

import "golang.org/x/sys/unix"

// program chooses one of some indices, which must ascend, at random. It does not hash as the kernel does without a
// program: the packet's hash that a classic program can read (SKF_AD_RXHASH) is 0 behind network cards that compute
// none, and then one socket would get every connection. Nothing is lost by chance: a connection stays with the socket
// that its first packet came to, and a SYN cookie is good at all of them.
//
// The indices are runs such as 0-3, 7, 9-12: a binary search over the runs leads to the number that is to be added.
// 2,000 slots fit into the kernel's 4,096 instructions, whoever is ready.
func program(indices []int) []unix.SockFilter {
	random := int32(skfADOff + skfADRandom)
	return append([]unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: uint32(random)},
		{Code: unix.BPF_ALU | unix.BPF_MOD | unix.BPF_K, K: uint32(len(indices))},
	}, search(runs(indices))...)
}

// From linux/filter.h: loads from here are not from the packet.
const (
	skfADOff    = -0x1000
	skfADRandom = 56 // since Linux 3.16
)

// run says that what comes from position on is the index shift further.
type run struct{ position, shift int }

func runs(indices []int) []run {
	var list []run
	for position, index := range indices {
		if shift := index - position; len(list) == 0 || list[len(list)-1].shift != shift {
			list = append(list, run{position, shift})
		}
	}
	return list
}

// search returns the index for the position in A.
func search(list []run) []unix.SockFilter {
	if len(list) == 1 {
		return []unix.SockFilter{
			{Code: unix.BPF_ALU | unix.BPF_ADD | unix.BPF_K, K: uint32(list[0].shift)},
			{Code: unix.BPF_RET | unix.BPF_A},
		}
	}
	middle := len(list) / 2
	low, high := search(list[:middle]), search(list[middle:])
	test := unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, K: uint32(list[middle].position)}
	code := []unix.SockFilter{test}
	if len(low) <= 255 {
		code[0].Jt = uint8(len(low))
	} else { // a conditional jump goes no further
		code[0].Jf = 1
		code = append(code, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JA, K: uint32(len(low))})
	}
	return append(append(code, low...), high...)
}

// attach gives a program to the whole group of a listening socket. No privilege is needed.
func attach(fd int, code []unix.SockFilter) error {
	if len(code) > unix.BPF_MAXINSNS {
		return unix.E2BIG
	}
	// For TCP since Linux 4.6.
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF,
		&unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]})
}
