// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// How much of an address space one call may cover: arithmetic, without clock or I/O.

import "time"

// pace fits the length of a call to the time that calls take on this machine, since for that long nobody can map or unmap
// anything in the process.
type pace struct {
	perByte float64 // seconds a byte of 4 KiB pages: at once as slow as the slowest call, then slowly as fast as the others
	huge    uint64  // bytes in a row, up to here in this mapping, that have no 4 KiB page
	most    uint64  // what a call over huge pages may cover, in case that small ones begin there
}

const (
	callAim    = 150 * time.Microsecond // a call more is less than a microsecond, and so much less to wait for
	callMost   = 600 * time.Microsecond // below 1 ms by the clock too, with an interrupt or two
	firstReach = 2 << 20                // while nothing is known
	leastReach = 256 << 10
	smallReach = 16 << 20
	// Of huge pages 64 MiB are 7 µs. Of small ones 256 MiB of a shared mapping or 64 MiB of a private one are 1 ms, here.
	sharedReach, privateReach = 256 << 20, 64 << 20
)

// took tells what processor time a call over 4 KiB pages took: shorter calls are no help against waiting for the lock, or
// for a processor.
func (p *pace) took(bytes uint64, d time.Duration) {
	if bytes >= leastReach { // of less, the call itself is most
		p.perByte = max(d.Seconds()/float64(bytes), p.perByte*7/8)
	}
}

// end is where a call from start on is to end, in a mapping that ends at limit.
func (p *pace) end(start, limit uint64) uint64 {
	reach, most := uint64(firstReach), p.most
	if p.perByte > 0 {
		reach = uint64(min(callAim.Seconds()/p.perByte, smallReach))
		most = min(most, uint64(callMost.Seconds()/p.perByte))
	}
	reach = max(reach, min(p.huge, most))
	reach = max(reach-reach%leastReach, leastReach) // whole pages: PAGEMAP_SCAN refuses a start within one
	const huge = 2 << 20
	end := start + reach
	if whole := end - end%huge; whole > start { // cuts no huge page
		end = whole
	}
	return min(end, limit)
}
