// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package ready

import (
	"errors"
	"slices"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"golang.org/x/sys/unix"
)

func TestWatchersAreTheEntriesOfOurSocketsThatAskForInput(t *testing.T) {
	proc := unpack(t, txtar.Parse([]byte(`
-- 10/fd/3 --
socket:[21530]
-- 10/fd/5 --
/dev/null
-- 10/fd/7 --
anon_inode:[eventpoll]
-- 10/fdinfo/7 --
pos:	0
tfd:        8 events:       19 data:                8  pos:0 ino:5416 sdev:9
tfd:        4 events:       18 data:                4  pos:0 ino:541a sdev:9
tfd:        5 events: 90000019 data: ffffffffdeadbeef  pos:0 ino:541a sdev:9
-- 11/fd/9 --
anon_inode:[eventpoll]
-- 11/fdinfo/9 --
pos:	0
tfd:        3 events:       19 data:                3  pos:0 ino:541a sdev:9
`)))
	got, err := Watchers(proc, []int{10, 11, 12}, []uint64{21530})
	// 5 is another file by now. Process 11 has the socket no more, so nobody can get at its entry.
	want := []Watcher{{PID: 10, Epoll: 7, Socket: 3, FD: 5, Inode: 21530, Data: 0xffffffffdeadbeef, Events: 0x90000019}}
	if !slices.Equal(got, want) || err != nil {
		t.Errorf("%+v, %v\nwant %+v", got, err, want)
	}
}

func TestWatchersSayWhatTheyMayNotRead(t *testing.T) {
	if unix.Getuid() != 0 {
		t.Skip("needs root, to become somebody else")
	}
	w := start(t, listen(t), newGate(t), "", []string{findPython(t), "loops.py", "accept"})
	asUser(t, nobody, func() {
		list, err := Watchers("/proc", []int{w.pid}, w.inodes)
		if len(list) > 0 || !errors.Is(err, unix.EACCES) {
			t.Errorf("%+v, %v", list, err)
		}
	})
}
