// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// Parsers of /proc/PID/status and /proc/PID/smaps_rollup: lines of "Key:   123 kB".

import (
	"bytes"
	"math"
)

// status is what T0 takes from /proc/PID/status, in bytes. The three Rss counters are exact since Linux 6.16 and before
// 6.2; in between they may be off by some hundred KiB.
type status struct {
	parent                     int
	rssAnon, rssFile, rssShmem int64
	pageTables, swap           int64
}

func (s *status) rss() int64 { return s.rssAnon + s.rssFile + s.rssShmem }

// parseStatus reports false for a process without memory: a zombie, a kernel thread, text that was cut off.
func parseStatus(text []byte) (status, bool) {
	var s status
	const all = 1<<5 - 1
	found := 0
	for len(text) > 0 {
		var line field
		line, text = nextField(text)
		switch string(line.key) {
		case "PPid":
			s.parent = int(line.value)
		case "RssAnon":
			s.rssAnon, found = line.bytes(), found|1
		case "RssFile":
			s.rssFile, found = line.bytes(), found|2
		case "RssShmem":
			s.rssShmem, found = line.bytes(), found|4
		case "VmPTE":
			s.pageTables, found = line.bytes(), found|8
		case "VmSwap":
			s.swap, found = line.bytes(), found|16
		}
	}
	return s, found == all
}

// rollup is what T2 takes from /proc/PID/smaps_rollup, in bytes. Every value is cut to whole KiB by the kernel.
type rollup struct {
	rss, pss                   int64
	pssAnon, pssFile, pssShmem int64
	privateClean, privateDirty int64
}

// parseRollup reports false when a field is missing: the process is gone, or Linux is older than 5.4.
func parseRollup(text []byte) (rollup, bool) {
	var r rollup
	const all = 1<<7 - 1
	found := 0
	for len(text) > 0 {
		var line field
		line, text = nextField(text)
		switch string(line.key) {
		case "Rss":
			r.rss, found = line.bytes(), found|1
		case "Pss":
			r.pss, found = line.bytes(), found|2
		case "Pss_Anon":
			r.pssAnon, found = line.bytes(), found|4
		case "Pss_File":
			r.pssFile, found = line.bytes(), found|8
		case "Pss_Shmem":
			r.pssShmem, found = line.bytes(), found|16
		case "Private_Clean":
			r.privateClean, found = line.bytes(), found|32
		case "Private_Dirty":
			r.privateDirty, found = line.bytes(), found|64
		}
	}
	return r, found == all
}

// add sums the processes of a tree.
func (r *rollup) add(o rollup) {
	r.rss += o.rss
	r.pss += o.pss
	r.pssAnon += o.pssAnon
	r.pssFile += o.pssFile
	r.pssShmem += o.pssShmem
	r.privateClean += o.privateClean
	r.privateDirty += o.privateDirty
}

// field is one line: its key and the number that follows it, 0 when there is none.
type field struct {
	key   []byte
	value int64
}

// bytes takes the value for KiB, which "kB" means in these files.
func (f field) bytes() int64 { return f.value << 10 }

// nextField splits the first line off text.
func nextField(text []byte) (field, []byte) {
	line, rest, _ := bytes.Cut(text, []byte{'\n'})
	key, value, found := bytes.Cut(line, []byte{':'})
	if !found {
		return field{}, rest
	}
	for len(value) > 0 && (value[0] == ' ' || value[0] == '\t') {
		value = value[1:]
	}
	var n int64
	for _, c := range value {
		if c < '0' || c > '9' || n > math.MaxInt64>>20 { // more KiB than an address space has: not a number we know
			break
		}
		n = n*10 + int64(c-'0')
	}
	return field{key: key, value: n}, rest
}
