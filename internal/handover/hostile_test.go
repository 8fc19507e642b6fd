// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package handover

// Processes that die, lie, flood or hang.

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestOnlyConnectedPacketSocketsAreAccepted(t *testing.T) {
	socket := func(fd int, err error) func(*testing.T) *os.File {
		return func(t *testing.T) *os.File {
			if err != nil {
				t.Fatal(err)
			}
			return os.NewFile(uintptr(fd), "socket")
		}
	}
	pairOf := func(kind int) func(*testing.T) *os.File {
		return func(t *testing.T) *os.File {
			fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { unix.Close(fds[1]) })
			return os.NewFile(uintptr(fds[0]), "socket")
		}
	}
	open := func(path string) func(*testing.T) *os.File {
		return func(t *testing.T) *os.File {
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
	}
	for name, make := range map[string]func(*testing.T) *os.File{
		"file":        open("/proc/self/exe"),
		"directory":   open("/"),
		"device":      open("/dev/null"),
		"stream":      pairOf(unix.SOCK_STREAM),
		"datagram":    pairOf(unix.SOCK_DGRAM),
		"unconnected": socket(unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)),
		"tcp":         socket(unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)),
		"netlink":     socket(unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)),
		"pipe": func(t *testing.T) *os.File {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			w.Close()
			return r
		},
		"listener": func(t *testing.T) *os.File {
			l, err := net.Listen("unixpacket", filepath.Join(t.TempDir(), "s"))
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			f, err := l.(*net.UnixListener).File()
			if err != nil {
				t.Fatal(err)
			}
			return f
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := make(t)
			if c, err := New(f); err == nil {
				c.Close()
				t.Error("it was accepted")
			} else if !strings.HasPrefix(err.Error(), "cannot use ") {
				t.Error(err)
			}
			until(t, "closed by New", func() bool {
				_, err := f.Stat()
				return errors.Is(err, os.ErrClosed)
			})
		})
	}
}

func TestTheEndOfAProcessEndsItsChannel(t *testing.T) {
	for when, test := range map[string]struct {
		before func(*testing.T, *worker) // the offer
		during func(*testing.T, *worker)
		taken  bool
	}{
		"before the offer":         {before: func(_ *testing.T, w *worker) { w.Close() }},
		"with the offer unread":    {during: func(_ *testing.T, w *worker) { w.Close() }},
		"with the offer in hand":   {during: func(t *testing.T, w *worker) { w.mustRead(t); w.Close() }},
		"with half of a goodbye":   {during: func(t *testing.T, w *worker) { w.mustRead(t); _ = w.CloseWrite() }},
		"with a packet of nothing": {during: func(t *testing.T, w *worker) { w.mustRead(t); w.say(t, "") }},
		"right after its answer": {
			during: func(t *testing.T, w *worker) { w.mustRead(t); w.say(t, `{"offer": 1, "taken": true}`); w.Close() },
			taken:  true,
		},
	} {
		t.Run(when, func(t *testing.T) {
			c, w := pair(t)
			if test.before != nil {
				test.before(t, w)
			}
			result1 := given(t, t.Context(), c, offer(t, 1, "x"))
			if test.during != nil {
				test.during(t, w)
			}
			if err := result(t, result1); test.taken != (err == nil) || !test.taken && !errors.Is(err, ErrGone) {
				t.Error(err)
			}
			wait(t, "gone", c.Gone())
			if err := c.Give(t.Context(), offer(t, 2, "x")); !errors.Is(err, ErrGone) {
				t.Errorf("the next offer: %v", err)
			}
		})
	}
}

func TestCloseEndsWhatIsUnderWay(t *testing.T) {
	c, w := pair(t)
	first, second := given(t, t.Context(), c, offer(t, 1, "x")), given(t, t.Context(), c, offer(t, 1, "x"))
	w.mustRead(t)
	c.Close()
	for _, r := range []<-chan error{first, second} {
		if err := result(t, r); !errors.Is(err, ErrGone) {
			t.Error(err)
		}
	}
	wait(t, "gone", c.Gone())
}

func TestWhatIsNoAnswerEndsTheChannel(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"no JSON":       {"yes\x1b!", "no answer"},
		"another type":  {`[1]`, "no answer"},
		"no number":     {`{"taken": true}`, "no answer"},
		"no verdict":    {`{"offer": 1}`, "no answer"},
		"words":         {`{"offer": "1", "taken": "yes"}`, "no answer"},
		"giant":         {`{"offer": 1, "taken": true, "error": "` + strings.Repeat("x", packetMax) + `"}`, "65576 bytes at once"},
		"the offer":     {`{"offer": 1, "data": {}, "fds": []}`, "no answer"},
		"half a packet": {`{"offer": 1, "taken": tr`, "no answer"},
	} {
		t.Run(name, func(t *testing.T) {
			c, w := pair(t)
			taken := given(t, t.Context(), c, offer(t, 1, "x"))
			w.mustRead(t)
			w.say(t, "%s", test.text)
			err := result(t, taken)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "cannot hand over d0: ") ||
				strings.ContainsAny(err.Error(), "\x1b\n") || len(err.Error()) > 2*textMax {
				t.Errorf("%q", err)
			}
			wait(t, "gone", c.Gone())
		})
	}
}

func TestAProcessThatFloodsLosesItsChannel(t *testing.T) {
	c, w := pair(t)
	var err error
	for err == nil {
		_, err = w.Write([]byte(`{"offer": 9, "taken": true}`))
	}
	if !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the sender is told %v", err)
	}
	wait(t, "gone", c.Gone())
	if err := c.Give(t.Context(), offer(t, 1, "x")); err == nil || !strings.Contains(err.Error(), "nobody waits for") {
		t.Error(err)
	}
}

// Its offers fill the socket; at last there is no room. The worker even makes our end a blocking one.
func TestAProcessThatNeverReadsHoldsNobodyUp(t *testing.T) {
	c, w := pair(t)
	if err := unix.SetNonblock(w.kept, false); err != nil {
		t.Fatal(err)
	}
	for number := 0; ; number++ {
		o := offer(t, number, "x")
		o.Manifest["d0"] = fmt.Appendf(nil, `{"path": %q}`, strings.Repeat("x", 50_000))
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		err := result(t, given(t, ctx, c, o))
		cancel()
		o.Files[0].Close()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		if strings.Contains(err.Error(), "reads no offers") {
			break
		}
	}
	// It reads after all: the channel is as good as before.
	drained := make(chan error, 1)
	go func() {
		for {
			p, err := w.read()
			if err != nil {
				drained <- err
				return
			}
			for _, f := range p.files {
				f.Close()
			}
			if p.Offer == -1 {
				_, err := w.Write([]byte(`{"offer": -1, "taken": true}`))
				drained <- err
				return
			}
		}
	}()
	if err := result(t, given(t, t.Context(), c, offer(t, -1, "x"))); err != nil {
		t.Error(err)
	}
	if err := result(t, drained); err != nil {
		t.Error(err)
	}
}

func TestDescriptorsThatAProcessSendsAreNotKept(t *testing.T) {
	c, w := pair(t)
	r, pipe, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	before := openDescriptors(t)
	taken := given(t, t.Context(), c, offer(t, 1, "x"))
	w.mustRead(t)
	for _, text := range []string{`{"offer": 0, "taken": true}`, `{"offer": 1, "taken": true}`} {
		if _, _, err := w.WriteMsgUnix([]byte(text), unix.UnixRights(int(pipe.Fd()), int(pipe.Fd())), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := result(t, taken); err != nil {
		t.Fatal(err)
	}
	noMoreThan(t, before+2) // the segment, offered and received
	pipe.Close()
	_ = r.SetReadDeadline(time.Now().Add(patience))
	if _, err := r.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("somebody still has the pipe: %v", err)
	}
}

// The kernel closes what a process sends in the call that drops it.
func TestADescriptorThatLingersHoldsNobodyUp(t *testing.T) {
	fd := lingering(t)
	c, _ := pairAfter(t, func(end int) error {
		err := unix.Sendmsg(end, []byte(`{"offer": 0, "taken": true}`), unix.UnixRights(fd), nil, 0)
		return errors.Join(err, unix.Close(fd)) // now the socket has the only one
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := result(t, given(t, ctx, c, offer(t, 1, "x"))); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	c.Close()
	wait(t, "gone", c.Gone())
}
