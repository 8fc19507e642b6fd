// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package ready

// Starting real workers: a blocking listener on descriptor 3, a gate that holds an import, and where programs are.

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/host"
)

const patience = 60 * time.Second // for facts that come at once on a machine with nothing else to do

// missing skips the test, or fails it where everything must run.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("PREFORKD_TEST_ALL") == "1" {
		t.Fatalf("PREFORKD_TEST_ALL is 1, and %s is missing", what)
	}
	t.Skipf("%s is missing", what)
}

func find(t testing.TB, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		missing(t, program)
	}
	return path
}

// findVenv finds a program of the virtual environment with test/requirements.txt.
func findVenv(t testing.TB, program string) string {
	t.Helper()
	venv := os.Getenv("PREFORKD_TEST_VENV")
	if venv == "" {
		venv = "../../.venv"
	}
	path, err := filepath.Abs(filepath.Join(venv, "bin", program))
	if err != nil {
		t.Fatal(err)
	}
	// Its Python may belong to another user: the script is then there and cannot be started.
	python := filepath.Join(filepath.Dir(path), "python")
	if errors.Join(unix.Access(path, unix.X_OK), unix.Access(python, unix.X_OK)) != nil {
		missing(t, path+" (pip install -r test/requirements.txt there, or set PREFORKD_TEST_VENV)")
	}
	return path
}

// findPython avoids wrappers (pyenv's python3 is a shell script that runs for a while and has the listener open).
var findPython = func() func(t testing.TB) string {
	ask := sync.OnceValue(func() string {
		out, err := exec.Command("python3", "-c", "import sys; print(sys.executable)").Output()
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(out))
	})
	return func(t testing.TB) string {
		t.Helper()
		if ask() == "" {
			missing(t, "python3")
		}
		return ask()
	}
}()

// listener is a socket as preforkd makes it: listening, and in blocking mode.
type listener struct {
	file    *os.File
	inode   uint64
	network string
	address string
}

func listen(t testing.TB) listener {
	t.Helper()
	return listenAt(t, unix.AF_INET, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
}

func listenAt(t testing.TB, family int, at unix.Sockaddr) listener {
	t.Helper()
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	l := listener{file: os.NewFile(uintptr(fd), "listener")}
	t.Cleanup(func() { l.file.Close() })
	var stat unix.Stat_t
	if err := errors.Join(unix.Bind(fd, at), unix.Listen(fd, 64), unix.Fstat(fd, &stat)); err != nil {
		t.Fatal(err)
	}
	l.inode = stat.Ino
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		l.network, l.address = "tcp", fmt.Sprintf("127.0.0.1:%d", name.Port)
	case *unix.SockaddrInet6:
		l.network, l.address = "tcp", fmt.Sprintf("127.0.0.1:%d", name.Port)
	case *unix.SockaddrUnix:
		l.network, l.address = "unix", name.Name
	}
	return l
}

// gate is a FIFO that a worker opens and reads to its end while it imports.
type gate string

func newGate(t testing.TB) *gate {
	t.Helper()
	g := gate(filepath.Join(t.TempDir(), "gate"))
	if err := unix.Mkfifo(string(g), 0o600); err != nil {
		t.Fatal(err)
	}
	return &g
}

// entered returns once the worker is inside the import, and how to let it go on.
func (g *gate) entered(t testing.TB, w *worker) (release func()) {
	t.Helper()
	var fd int
	w.until(t, "in its import", func() bool {
		var err error
		// ENXIO until somebody has it open for reading.
		fd, err = unix.Open(string(*g), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		return err == nil
	})
	release = sync.OnceFunc(func() { unix.Close(fd) })
	t.Cleanup(release)
	return release
}

// worker is a running program.
type worker struct {
	pid    int
	inodes []uint64
	exited chan struct{}
	log    string
}

func start(t testing.TB, l listener, g *gate, notify string, command []string, more ...func(*exec.Cmd)) *worker {
	t.Helper()
	w := &worker{
		inodes: []uint64{l.inode}, exited: make(chan struct{}),
		log: filepath.Join(t.TempDir(), "log"),
	}
	log, err := os.Create(w.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = "testdata/servers"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{l.file}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Env = slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "NOTIFY_SOCKET=") })
	cmd.Env = append(cmd.Env, "PYTHONDONTWRITEBYTECODE=1")
	if g != nil {
		cmd.Env = append(cmd.Env, "GATE="+string(*g))
	}
	if notify != "" {
		cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+notify)
	}
	for _, f := range more {
		f(cmd)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.pid = cmd.Process.Pid
	go func() {
		_ = cmd.Wait()
		close(w.exited)
	}()
	t.Cleanup(func() {
		_ = unix.Kill(-w.pid, unix.SIGKILL)
		<-w.exited
	})
	return w
}

func (w *worker) probe(notified <-chan struct{}) Probe {
	return Probe{PID: w.pid, Inodes: w.inodes, Notified: notified}
}

func (w *worker) look() (Verdict, error) {
	return Waiting("/proc", host.Tree("/proc", w.pid), w.inodes)
}

func (w *worker) output() string {
	text, _ := os.ReadFile(w.log)
	return string(text)
}

// until polls for a fact about the worker.
func (w *worker) until(t testing.TB, fact string, holds func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for !holds() {
		select {
		case <-w.exited:
			t.Fatalf("it ended and was never %s:\n%s", fact, w.output())
		case <-deadline:
			t.Fatalf("not %s after %v:\n%s", fact, patience, w.output())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// inside returns once the worker has said "waiting" and its first thread is in one of the system calls, twice in a row
// with the same arguments.
func (w *worker) inside(t testing.TB, numbers []int) {
	t.Helper()
	var last []byte
	w.until(t, "waiting", func() bool { return strings.Contains(w.output(), "waiting") })
	w.until(t, fmt.Sprintf("in system call %v", numbers), func() bool {
		line, _ := os.ReadFile("/proc/" + strconv.Itoa(w.pid) + "/syscall")
		c, ok := parseCall(line)
		same := bytes.Equal(line, last)
		last = line
		return ok && same && slices.Contains(numbers, c.number)
	})
}

// asThread runs f on a thread of its own, whose credentials it may change: bare system calls change those of one
// thread, and the thread ends with f.
func asThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		f()
	}()
	<-done
}

// asUser runs f on a thread of another user.
func asUser(t testing.TB, uid int, f func()) {
	t.Helper()
	asThread(func() {
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
			t.Error(errno)
			return
		}
		f()
	})
}

// goServer is a Go program that serves on descriptor 3 after a slow start.
func goServer() {
	_, _ = os.ReadFile(os.Getenv("GATE"))
	l, err := net.FileListener(os.NewFile(3, "listener"))
	if err == nil {
		err = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("ready"))
		}))
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// listenReady opens a notify socket and returns the channel that READY=1 closes.
func listenReady(t testing.TB) (*Notifier, <-chan struct{}) {
	t.Helper()
	n, err := Listen(t.Name())
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	say := sync.OnceFunc(func() { close(ready) })
	ended := make(chan error, 1)
	go func() {
		ended <- n.Run(func(m Message) {
			if m.Ready {
				say()
			}
		})
	}()
	t.Cleanup(func() {
		n.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return n, ready
}
