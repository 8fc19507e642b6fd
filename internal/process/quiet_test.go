// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package process

// Real servers that are silenced under a client's eyes.

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/contract"
	"github.com/preforkd/preforkd/internal/host"
	"github.com/preforkd/preforkd/internal/ready"
)

// selectorsServer is an event loop by hand. Its argument changes how the listener is registered.
const selectorsServer = `
import os, select, selectors, socket, sys
how = sys.argv[1]
l = socket.socket(fileno=3)
if how == "number":  # where the report of our own child is: after 3 null, 2 for the entry, the plan
    l = socket.socket(fileno=os.dup2(3, 6))
if how == "high":
    l = socket.socket(fileno=os.dup2(3, 900))
l.setblocking(False)
events = select.EPOLLIN
if how == "exclusive": events |= select.EPOLLEXCLUSIVE
if how == "edge": events |= select.EPOLLET
ep = select.epoll()
ep.register(l.fileno(), events)
if how == "moved":  # the number of the registration is another file, the entry lives on with the socket
    moved = os.dup(l.detach()); os.dup2(os.open("/dev/null", os.O_RDONLY), 3); l = socket.socket(fileno=moved)
conns = {}
while True:
    for fd, _ in ep.poll():
        if fd not in conns:
            while True:
                try: c, _ = l.accept()
                except BlockingIOError: break
                conns[c.fileno()] = [c, b""]
                ep.register(c.fileno(), select.EPOLLIN)
            continue
        c, text = conns[fd]
        data = c.recv(4096)
        text += data
        conns[fd][1] = text
        if b"\r\n\r\n" in text:
            c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nready")
        if not data or b"\r\n\r\n" in text:
            ep.unregister(fd); del conns[fd]; c.close()
`

const servers = "../ready/testdata/servers/"

// program finds a program of this machine, or one of the virtual environment with test/requirements.txt.
func program(t *testing.T, name string) string {
	t.Helper()
	venv := os.Getenv("PREFORKD_TEST_VENV")
	if venv == "" {
		venv = "../../.venv"
	}
	path, err := filepath.Abs(filepath.Join(venv, "bin", name))
	if err == nil && unix.Access(path, unix.X_OK) == nil && unix.Access(filepath.Dir(path)+"/python", unix.X_OK) == nil {
		return path
	}
	if path, err = exec.LookPath(name); err != nil {
		if os.Getenv("PREFORKD_TEST_ALL") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return path
}

// server is a worker that serves on a socket which this process has too.
type server struct {
	*worker
	fd      int
	inode   uint64
	address string
}

func serve(t *testing.T, args ...string) *server {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 64); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := name.(*unix.SockaddrInet4).Port
	spec := command(args...)
	spec.Plan.Base = []string{"PATH=" + os.Getenv("PATH"), "GATE=/dev/null", "PYTHONDONTWRITEBYTECODE=1"}
	spec.Plan.Sockets = []contract.Socket{{Name: "http", Port: port}}
	spec.Sockets = []int{fd}
	spec.Dir = servers
	s := &server{spawned(t, spec), fd, stat.Ino, (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}).String()}
	eventually(t, "it serves", func() bool {
		verdict, _ := ready.Waiting("/proc", host.Tree("/proc", s.PID), []uint64{s.inode})
		return verdict == ready.Seen
	})
	return s
}

func (s *server) watchers(t *testing.T) []Watcher {
	t.Helper()
	found, err := ready.Watchers("/proc", host.Tree("/proc", s.PID), []uint64{s.inode})
	if err != nil {
		t.Fatal(err)
	}
	var list []Watcher
	for _, w := range found {
		list = append(list, Watcher(w))
	}
	return list
}

// quiet silences the worker and returns how that ended.
func quiet(t *testing.T, watchers []Watcher) error {
	t.Helper()
	ended := make(chan error, 1)
	var p *Process
	var err error
	onThread(func() { p, err = StartQuiet(watchers, func(err error) { ended <- err }) })
	if p == nil || err != nil {
		t.Fatalf("not started: %v", err)
	}
	wait(t, p.Gone())
	return <-ended
}

// waiting tells whether a connection is in the queue.
func (s *server) waiting(t *testing.T) bool {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}
	if _, err := unix.Poll(fds, 0); err != nil {
		t.Fatal(err)
	}
	return fds[0].Revents != 0
}

func (s *server) dial(t *testing.T, request string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	say(t, conn, request)
	return conn
}

func say(t *testing.T, conn io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

func answered(t *testing.T, conn io.Reader) {
	t.Helper()
	text, err := io.ReadAll(conn)
	if !strings.HasPrefix(string(text), "HTTP/1.1 200 ") || !strings.Contains(string(text), "ready") || err != nil {
		t.Errorf("the answer is %q: %v", text, err)
	}
}

const requestHead, requestRest = "GET / HTTP/1.1\r\nHost: x\r\n", "Connection: close\r\n\r\n"

func TestASilencedWorkerAnswersWhatItHasAndTakesNoMore(t *testing.T) {
	python := func(args ...string) func(*testing.T) []string {
		return func(t *testing.T) []string { return append([]string{program(t, "python3")}, args...) }
	}
	for name, args := range map[string]func(*testing.T) []string{
		"uvicorn": func(t *testing.T) []string {
			return []string{program(t, "uvicorn"), "--fd", "3", "apps:asgi"}
		},
		"node":                    func(t *testing.T) []string { return []string{program(t, "node"), "server.js"} },
		"asyncio":                 python("loops.py", "asyncio_"),
		"epoll":                   python("-c", selectorsServer, ""),
		"epoll, edge-triggered":   python("-c", selectorsServer, "edge"),
		"epoll, exclusive":        python("-c", selectorsServer, "exclusive"),
		"epoll, another file":     python("-c", selectorsServer, "moved"),
		"epoll, a number of ours": python("-c", selectorsServer, "number"),
		"epoll, a high number":    python("-c", selectorsServer, "high"),
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, args(t)...)
			first, second := s.dial(t, requestHead), s.dial(t, requestHead)
			eventually(t, "both were accepted", func() bool { return !s.waiting(t) })

			watchers := s.watchers(t)
			if len(watchers) != 1 {
				t.Fatalf("the entries are %+v", watchers)
			}
			if err := quiet(t, watchers); err != nil {
				t.Fatal(err)
			}
			if again := s.watchers(t); len(again) > 0 {
				t.Errorf("entries are left: %+v", again)
			}
			late := s.dial(t, requestHead+requestRest)
			for _, conn := range []net.Conn{first, second} { // each is a round of its loop
				say(t, conn, requestRest)
				answered(t, conn)
			}
			if !s.waiting(t) {
				t.Fatal("the late connection was taken")
			}
			fd, _, err := unix.Accept4(s.fd, unix.SOCK_CLOEXEC) // as another worker would
			if err != nil {
				t.Fatal(err)
			}
			other := os.NewFile(uintptr(fd), "connection")
			if _, err := other.Read(make([]byte, 4096)); err != nil { // a close with something unread is a reset
				t.Fatal(err)
			}
			say(t, other, "HTTP/1.1 200 OK\r\n\r\nready")
			other.Close()
			answered(t, late)

			s.Signal(unix.SIGTERM)
			if e, ok := s.next(t).(Exited); !ok || e != (Exited{}) && e != (Exited{Signal: int(unix.SIGTERM)}) {
				t.Errorf("after TERM: %v", e)
			}
		})
	}
}

func TestAServerWithoutAnEventLoopHasNothingToSilence(t *testing.T) {
	s := serve(t, program(t, "python3"), "loops.py", "poll")
	watchers := s.watchers(t)
	var p *Process
	var err error
	onThread(func() { p, err = StartQuiet(watchers, func(error) { t.Error("ended") }) })
	if len(watchers) > 0 || p != nil || err != nil {
		t.Errorf("%+v, %v, %v", watchers, p, err)
	}
}

func TestWhatHasChangedSinceIsNotTouched(t *testing.T) {
	noLeak(t, func(t *testing.T) {
		s := serve(t, program(t, "python3"), "loops.py", "asyncio_")
		good := s.watchers(t)[0]
		socket, number, dead := good, good, good
		socket.Inode++      // it is another socket now
		number.Socket = 900 // closed
		dead.PID = 1<<22 + 1
		var p *Process
		var err error
		onThread(func() {
			p, err = StartQuiet([]Watcher{socket, number, dead}, func(error) { t.Error("ended") })
		})
		if p != nil || err != nil {
			t.Errorf("%v, %v", p, err)
		}
		answered(t, s.dial(t, requestHead+requestRest))
	})
}

func TestNotBeingAllowedToSilenceIsAnError(t *testing.T) {
	needRoot(t)
	s := serve(t, program(t, "python3"), "loops.py", "asyncio_")
	watchers := s.watchers(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for ever: the user of this thread is another
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
			t.Error(errno)
			return
		}
		p, err := StartQuiet(watchers, func(error) { t.Error("ended") })
		if p != nil || err == nil || !strings.Contains(err.Error(), "pidfd_getfd: operation not permitted") {
			t.Errorf("%v, %v", p, err)
		}
	}()
	<-done
	answered(t, s.dial(t, requestHead+requestRest))
}

func TestAChildThatCannotSilenceSaysWhy(t *testing.T) {
	noLeak(t, func(t *testing.T) {
		s := serve(t, program(t, "python3"), "loops.py", "asyncio_")
		watchers := s.watchers(t)
		watchers[0].Epoll = 1 // a pipe
		err := quiet(t, watchers)
		if err == nil || !strings.HasPrefix(err.Error(), "silence: epoll_ctl: ") {
			t.Errorf("%v", err)
		}
		answered(t, s.dial(t, requestHead+requestRest))
	})
}
