// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// One process of a worker's tree.

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// member is one process. Its status file stays open: the descriptor belongs to this very process even when the number
// is given to another, and reads as ESRCH once it has ended. So a figure is this process's when its status could be
// read before and after.
type member struct {
	pid    int
	dir    string // /proc/PID
	fd     int    // of dir/status
	now    status
	first  int64 // RssAnon at the first reading
	usage  usage
	rss    int64    // gopsutil's where it was read at this tick, else the sum of the status: the same counters
	layers [][]runs // by segment, in the order of Target.Versions; nil before the first scan and after a failed one
	rollup rollup   // good when sumErr is nil

	scanErr, sumErr error // of the last sample
}

// openMember opens a process and reads its status for the first time.
func openMember(proc string, pid int, text *textReader) (*member, error) {
	m := &member{pid: pid, dir: proc + "/" + strconv.Itoa(pid)}
	var err error
	if m.fd, err = openProc(m.dir + "/status"); err != nil {
		return nil, err
	}
	if err := m.read(text); err != nil {
		m.close()
		return nil, err
	}
	m.first = m.now.rssAnon
	return m, nil
}

// read is T0: 8 µs whatever the process maps, no allocation. An error means that the process has ended.
func (m *member) read(text *textReader) error {
	content, err := text.pread(m.fd)
	if err != nil {
		return cannotRead(m.dir+"/status", err)
	}
	now, ok := parseStatus(content)
	if !ok { // a zombie has no memory
		return cannotRead(m.dir+"/status", unix.ESRCH)
	}
	m.now, m.rss = now, now.rss()
	return nil
}

// scan is T1: the pages of the given segments. It replaces layers. /proc/PID/pagemap is opened anew each time, since it
// stays with the address space it was opened on, and an exec begins another.
func (m *member) scan(segments []Segment, forked bool, text *textReader, s *scanner) error {
	m.layers = nil
	if len(segments) == 0 {
		m.layers = [][]runs{}
		return nil
	}
	content, err := text.file(m.dir + "/maps")
	if err != nil {
		return err
	}
	found := appendMappings(nil, content, func(dev, ino uint64) bool {
		for i := range segments {
			if segments[i].Ino == ino && segments[i].Dev == dev {
				return true
			}
		}
		return false
	})
	layers := make([][]runs, len(segments))
	if len(found) > 0 {
		path := m.dir + "/pagemap"
		fd, err := openProc(path)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for i := range segments {
			if layers[i], err = s.layers(fd, found, segments[i], forked); err != nil {
				return cannotRead(path, err)
			}
		}
	}
	m.layers = layers
	return nil
}

// layers scans the mappings of one segment into as few layers as they fit in without overlap.
func (s *scanner) layers(fd int, found []mapping, seg Segment, forked bool) ([]runs, error) {
	var writers []*runWriter
	for _, r := range found {
		if r.ino != seg.Ino || r.dev != seg.Dev {
			continue
		}
		var out *runWriter
		for _, w := range writers {
			if w.end <= r.offset/s.page {
				out = w
				break
			}
		}
		if out == nil {
			out = &runWriter{}
			writers = append(writers, out)
		}
		if err := s.scan(fd, r, forked, out); err != nil {
			return nil, err
		}
	}
	out := make([]runs, len(writers))
	for i, w := range writers {
		out[i] = w.finish()
	}
	return out, nil
}

// sum is T2: smaps_rollup. The kernel holds the mmap lock for each mapping as a whole, so it is read rarely.
func (m *member) sum(text *textReader, calls *callTimer) (err error) {
	m.rollup, err = readRollup(m.dir+"/smaps_rollup", text, calls)
	return err
}

func (m *member) close() { _ = unix.Close(m.fd) }
