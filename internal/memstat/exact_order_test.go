// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// What the processes of the exact tests are told to do.

const engineVar = "PREFORKD_MEMSTAT_ENGINE" // the descriptor of the leader's socket

type opcode int64

const (
	opMap     opcode = iota + 1 // A descriptor or -1, B first page, C pages, D flags: answers with the map's number
	opTouch                     // A map, B first, C end: reads these pages
	opWrite                     // A map, B first, C end, D step: writes every D-th
	opProtect                   // A map, B first, C end, D prot
	opUnmap                     // A map, B first, C end
	opAdvise                    // A map, B first, C end, D advice
	opFork                      // A descriptor of the child's socket: answers with its pid
)

// Flags of opMap.
const (
	mapPrivate  = 1 << iota // MAP_PRIVATE, else MAP_SHARED
	mapWritable             // PROT_WRITE as well
	mapCrooked              // a page beside the address at which huge pages can be mapped
)

const maxMaps = 64

type order struct {
	Op         opcode
	A, B, C, D int64
}

type reply struct{ Value, Errno int64 }
