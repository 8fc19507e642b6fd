// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package ready

import (
	"net"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestWhatIsAcceptedAndNotReadIsUnread(t *testing.T) {
	l := listen(t)
	server, err := net.FileListener(l.file)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	pids := []int{os.Getpid()}
	unread := func() []uint64 {
		t.Helper()
		list, err := Unread(procfs, pids, []uint64{l.inode})
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	var clients []net.Conn
	var accepted []*net.TCPConn
	var inodes []uint64
	for range 2 {
		client, err := net.Dial("tcp", server.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		conn, err := server.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		clients, accepted = append(clients, client), append(accepted, conn.(*net.TCPConn))
		raw, err := accepted[len(accepted)-1].SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		if err := raw.Control(func(fd uintptr) { err = unix.Fstat(int(fd), &st) }); err != nil {
			t.Fatal(err)
		}
		inodes = append(inodes, st.Ino)
	}
	if got := unread(); len(got) != 0 {
		t.Errorf("before anything is sent: %v", got)
	}
	if _, err := clients[1].Write([]byte("GET")); err != nil {
		t.Fatal(err)
	}
	if got := unread(); !slices.Equal(got, inodes[1:]) { // on loopback it has arrived when it is written
		t.Errorf("unread are %v, want %v", got, inodes[1:])
	}
	other := start(t, l, nil, "", []string{"/bin/sleep", "3600"}) // it has the listener, as every worker
	if list, err := Unread(procfs, []int{other.pid}, []uint64{l.inode}); len(list) != 0 || err != nil {
		t.Errorf("of another process: %v %v", list, err)
	}
	if _, err := accepted[1].Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if got := unread(); len(got) != 0 {
		t.Errorf("when it is read: %v", got)
	}
}
