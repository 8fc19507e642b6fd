// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package memstat

// One process of a worker's tree.

import (
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// member is one process. Its status file stays open: the descriptor belongs to this very process even when the number
// is given to another, and reads as ESRCH once it has ended. So a figure is this process's when its status could be
// read before and after.
//
// When the first thread of a process has ended while others live on, /proc/PID is a zombie with an address space of
// nothing: status without figures, statm of zeros, maps and fd empty. The files of a living thread are the process's.
type member struct {
	pid    int
	proc   string // /proc/PID
	dir    string // where its files are read: proc, or /proc/PID/task/TID
	fd     int    // of proc/status
	thread int    // of dir/status where dir is a thread's, else -1
	now    status
	own    bool  // it has an address space of its own, which a child of vfork has not
	first  int64 // RssAnon at the first reading
	usage  usage
	asked  bool     // usage is of the last look at the tree
	rss    int64    // gopsutil's where it was read at this tick, else the sum of the status: the same counters
	layers [][]runs // by segment, in the order of Target.Versions; nil before the first scan and after a failed one
	rollup rollup   // good when sumErr is nil

	scanErr, sumErr error // of the last sample
}

// openMember opens a process and reads its status for the first time.
func openMember(proc string, pid int, text *textReader) (*member, error) {
	dir := proc + "/" + strconv.Itoa(pid)
	m := &member{pid: pid, proc: dir, dir: dir, thread: -1}
	var err error
	if m.fd, err = text.open(m, "status"); err != nil {
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
		return cannotRead(m.proc+"/status", err)
	}
	now, ok := parseStatus(content)
	switch {
	case ok && m.thread >= 0: // another thread has called exec and is the first now
		m.leaveThread()
	case !ok: // a zombie has no memory
		if now, ok = m.readThread(text); !ok {
			return cannotRead(m.proc+"/status", unix.ESRCH)
		}
	}
	m.now, m.rss = now, now.rss()
	return nil
}

// readThread reads the status of a thread that has not ended, false when there is none.
func (m *member) readThread(text *textReader) (now status, ok bool) {
	if m.thread >= 0 {
		if content, err := text.pread(m.thread); err == nil {
			if now, ok = parseStatus(content); ok {
				return now, true
			}
		}
		m.leaveThread()
	}
	var threads []os.DirEntry
	_ = text.access.try(m.proc, m.pid, func() (err error) {
		threads, err = os.ReadDir(m.proc + "/task")
		return err
	})
	for _, t := range threads {
		m.dir = m.proc + "/task/" + t.Name()
		fd, err := text.open(m, "status")
		if err != nil {
			continue
		}
		if content, err := text.pread(fd); err == nil {
			if now, ok = parseStatus(content); ok {
				m.thread = fd
				return now, true
			}
		}
		_ = unix.Close(fd)
	}
	m.dir = m.proc
	return now, false
}

func (m *member) leaveThread() {
	_ = unix.Close(m.thread)
	m.dir, m.thread = m.proc, -1
}

// scan is T1: the pages of the given segments. It replaces layers. /proc/PID/pagemap is opened anew each time, since it
// stays with the address space it was opened on, and an exec begins another.
func (m *member) scan(segments []Segment, forked bool, text *textReader, s *scanner) error {
	m.layers = nil
	if len(segments) == 0 {
		m.layers = [][]runs{}
		return nil
	}
	// The pagemap comes first: so what is found in maps is of this address space, or of one that came later.
	fd, err := text.open(m, "pagemap")
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	begun := time.Now()
	content, err := text.file(m, "maps")
	s.calls.done(begun)
	if err != nil {
		return err
	}
	layers := make([][]runs, len(segments))
	found := appendMappings(nil, content, func(dev, ino uint64) bool {
		for i := range segments {
			if segments[i].Ino == ino && segments[i].Dev == dev {
				return true
			}
		}
		return false
	})
	for i := range segments {
		if layers[i], err = s.layers(fd, found, segments[i], forked); err != nil {
			return cannotRead(m.dir+"/pagemap", err)
		}
	}
	if err := s.alive(fd); err != nil {
		return cannotRead(m.dir+"/pagemap", err)
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
	m.rollup, err = readRollup(m, text, calls)
	return err
}

func (m *member) close() {
	if m.thread >= 0 {
		m.leaveThread()
	}
	_ = unix.Close(m.fd)
}
