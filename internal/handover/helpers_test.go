// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package handover

// The other end of a channel, datasets to offer, and what is open.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second // for facts that come at once on a machine with nothing else to do

// worker is the process's end of a channel.
type worker struct {
	*net.UnixConn

	kept int // a descriptor of the end that was sent
}

// pair opens a channel to a worker that has kept the end that it sent.
func pair(t *testing.T) (*Channel, *worker) {
	t.Helper()
	return pairAfter(t, func(int) error { return nil })
}

// pairAfter lets the worker use its end before the channel is opened.
func pairAfter(t *testing.T, early func(fd int) error) (*Channel, *worker) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := early(fds[1]); err != nil {
		t.Fatal(err)
	}
	kept, err := unix.FcntlInt(uintptr(fds[0]), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(os.NewFile(uintptr(fds[0]), "ours"))
	if err != nil {
		t.Fatal(err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "theirs")
	conn, err := net.FileConn(theirs)
	if err = errors.Join(err, theirs.Close()); err != nil {
		t.Fatal(err)
	}
	w := &worker{conn.(*net.UnixConn), kept}
	if err := w.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.Close(kept)
		w.Close()
		c.Close()
		c.Close()
	})
	return c, w
}

// packet is what a worker receives.
type packet struct {
	Offer int
	Data  map[string]map[string]any
	FDs   []string
	files []*os.File
}

func (w *worker) read() (p packet, err error) {
	text, control := make([]byte, packetMax), make([]byte, unix.CmsgSpace(4*filesMax))
	size, controlSize, flags, _, err := w.ReadMsgUnix(text, control)
	if err != nil {
		return p, err
	}
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		return p, errors.New("truncated")
	}
	messages, err := unix.ParseSocketControlMessage(control[:controlSize])
	if err != nil {
		return p, err
	}
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return p, err
		}
		for _, fd := range fds {
			p.files = append(p.files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return p, json.Unmarshal(text[:size], &p)
}

func (w *worker) mustRead(t *testing.T) packet {
	t.Helper()
	p, err := w.read()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, f := range p.files {
			f.Close()
		}
	})
	return p
}

// readable tells whether a packet waits.
func (w *worker) readable(t *testing.T) (yes bool) {
	t.Helper()
	raw, err := w.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		yes = n == 1
	}); err != nil {
		t.Fatal(err)
	}
	return yes
}

func (w *worker) say(t *testing.T, format string, args ...any) {
	t.Helper()
	if _, err := fmt.Fprintf(w, format, args...); err != nil {
		t.Fatal(err)
	}
}

// given runs Give and returns where its result comes.
func given(t *testing.T, ctx context.Context, c *Channel, o Offer) <-chan error {
	t.Helper()
	result := make(chan error, 1)
	go func() { result <- c.Give(ctx, o) }()
	return result
}

func result(t *testing.T, from <-chan error) error {
	t.Helper()
	select {
	case err := <-from:
		return err
	case <-time.After(patience):
		t.Fatal("Give did not return")
		return nil
	}
}

func wait(t *testing.T, fact string, closed <-chan struct{}) {
	t.Helper()
	select {
	case <-closed:
	case <-time.After(patience):
		t.Fatalf("not %s after %v", fact, patience)
	}
}

// offer has a dataset for each content, named d0, d1 …
func offer(t testing.TB, number int, contents ...string) Offer {
	t.Helper()
	o := Offer{Number: number, Manifest: map[string]json.RawMessage{}}
	for i, content := range contents {
		name := fmt.Sprintf("d%d", i)
		o.Names = append(o.Names, name)
		o.Manifest[name] = json.RawMessage(fmt.Sprintf(`{"fd": %d, "path": "/run/%s.v2", "version": 2}`, 7+i, name))
		o.Files = append(o.Files, segment(t, content))
	}
	return o
}

// segment is a fresh read-only descriptor of sealed memory.
func segment(t testing.TB, content string) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("segment", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	writer := os.NewFile(uintptr(fd), "segment")
	defer writer.Close()
	_, err = writer.WriteString(content)
	_, sealed := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL)
	if err := errors.Join(err, sealed); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// noMoreThan waits until so many descriptors are open at most: some are closed behind a test's back.
func noMoreThan(t *testing.T, want int) {
	t.Helper()
	until(t, fmt.Sprintf("at %d descriptors", want), func() bool { return openDescriptors(t) <= want })
}

// until polls for a fact.
func until(t *testing.T, fact string, holds func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("not %s after %v", fact, patience)
		case <-time.After(time.Millisecond):
		}
	}
}

// lingering is a descriptor whose last close takes a minute, or until the test ends: a TCP socket with unsent data.
func lingering(t *testing.T) (fd int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	f, err := conn.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if ctlErr := raw.Control(func(n uintptr) {
		for filled := error(nil); filled == nil; {
			_, filled = unix.SendmsgN(int(n), make([]byte, 1<<16), nil, nil, unix.MSG_DONTWAIT)
		}
		err = unix.SetsockoptLinger(int(n), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 60})
		if err == nil {
			fd, err = unix.FcntlInt(n, unix.F_DUPFD_CLOEXEC, 0)
		}
	}); errors.Join(ctlErr, err) != nil {
		t.Fatal(ctlErr, err)
	}
	return fd
}
