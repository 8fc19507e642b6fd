// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: sockets that systemd passes to preforkd are taken over under their names, and served by workers; systemd hears
// when the service is ready, reloads and stops, how it is, and that it lives; and workers do not speak for it.

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// asPID1 sets LISTEN_PID as systemd does: it is the pid of the process that becomes preforkd.
var asPID1 = []string{"/bin/sh", "-c", `LISTEN_PID=$$ exec "$@"`, "sh"}

func TestSocketsOfSystemdAreTakenOver(t *testing.T) {
	dir := place(t)
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer web.Close()
	path := filepath.Join(dir, "admin.sock")
	admin, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	var files []*os.File
	for _, l := range []interface{ File() (*os.File, error) }{web.(*net.TCPListener), admin.(*net.UnixListener)} {
		file, err := l.File()
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		files = append(files, file)
	}
	f := start(t, spec{
		dir: dir, through: asPID1, files: files,
		env:     []string{"LISTEN_FDS=2", "LISTEN_FDNAMES=web:admin"},
		flags:   []string{"-w", "2", "-l", "own=127.0.0.1:0"},
		command: []string{python(t, nil), script(t, "accept.py")},
	})
	snap := f.untilReady(2)
	var names []string
	for _, l := range snap.Listen {
		names = append(names, l.Name)
	}
	if !slices.Equal(names, []string{"own", "web", "admin"}) {
		t.Fatalf("listeners %v, want those of --listen and then systemd's", names)
	}
	if got := snap.Listen[1].Address; got != web.Addr().String() {
		t.Errorf("the address of web is %q, want %s", got, web.Addr())
	}
	for _, l := range snap.Listen[:2] {
		if body, err := get(l.Address); err != nil || !strings.HasSuffix(body, " "+l.Name) {
			t.Errorf("%s answers %q, %v", l.Name, body, err)
		}
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answer := make([]byte, 4096)
	_, err = conn.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
	n, err2 := conn.Read(answer)
	if err != nil || err2 != nil || !strings.HasSuffix(string(answer[:n]), " admin") {
		t.Errorf("admin answers %q, %v, %v", answer[:n], err, err2)
	}
	f.stop()
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the socket of systemd is gone: %v", err)
	}
	if _, err := net.Dial("tcp", web.Addr().String()); err != nil {
		t.Errorf("systemd's socket does not listen any more: %v", err)
	}
}

// The same by systemd's own tool, which starts preforkd at the first connection.
func TestSocketActivation(t *testing.T) {
	activate, err := exec.LookPath("systemd-socket-activate")
	if err != nil {
		t.Skip("needs systemd-socket-activate")
	}
	address := freeAddress(t)
	f := start(t, spec{
		through: []string{activate, "--listen", address, "--fdname", "web", "--setenv", "PREFORKD_E2E"},
		flags:   []string{"-w", "2"},
		command: []string{python(t, nil), script(t, "accept.py")},
	})
	var body string
	within(t, patience, "an answer", func() bool {
		body, err = get(address)
		return err == nil
	})
	if !strings.HasSuffix(body, " web") {
		t.Errorf("answer %q", body)
	}
	f.untilReady(2)
	if err := syscall.Kill(f.pid, 0); err != nil {
		t.Error(err)
	}
	f.stop()
}

// heard is a message to the service manager, and whether a worker had finished its import when it came.
type heard struct {
	text   string
	served bool
}

func TestSystemdHearsHowTheServiceIs(t *testing.T) {
	dir := place(t)
	imported := filepath.Join(dir, "imported")
	if err := os.Mkdir(imported, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var messages []heard
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for buf := make([]byte, 4096); ; {
			n, err := manager.Read(buf)
			if err != nil {
				return
			}
			files, _ := os.ReadDir(imported)
			mu.Lock()
			messages = append(messages, heard{string(buf[:n]), len(files) > 0})
			mu.Unlock()
		}
	}()
	defer func() { manager.Close(); <-ended }()
	// told waits for a message that comes after the first skip ones, and returns how many there were up to it.
	told := func(skip int, what string) int {
		t.Helper()
		at := 0
		within(t, patience, "systemd hears "+what, func() bool {
			mu.Lock()
			defer mu.Unlock()
			i := slices.IndexFunc(messages[skip:], func(m heard) bool { return slices.Contains(strings.Split(m.text, "\n"), what) })
			at = skip + i + 1
			return i >= 0
		})
		return at
	}

	f := start(t, spec{
		dir: dir, through: []string{"/bin/sh", "-c", `WATCHDOG_PID=$$ exec "$@"`, "sh"},
		env:     []string{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=400000", "PYTHONPATH=" + script(t, "."), "IMPORTED=" + imported},
		flags:   []string{"-w", "2", "-l", "127.0.0.1:0"},
		command: []string{python(t, nil), script(t, "blocking_accept.py")},
	})
	isReady := told(0, "READY=1")
	mu.Lock()
	if !messages[isReady-1].served {
		t.Error("READY=1 came before any worker could serve")
	}
	mu.Unlock()
	for _, pid := range mainPIDs(f.untilReady(2)) {
		environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{path, "WATCHDOG_"} {
			if strings.Contains(string(environ), word) {
				t.Errorf("worker %d sees systemd's %s", pid, word)
			}
		}
	}
	told(0, "STATUS=2 of 2 workers ready")
	told(told(told(0, "WATCHDOG=1"), "WATCHDOG=1"), "WATCHDOG=1")

	mu.Lock()
	before := len(messages)
	mu.Unlock()
	f.must("reload")
	reloading := told(before, "RELOADING=1")
	mu.Lock()
	sent := regexp.MustCompile(`MONOTONIC_USEC=(\d+)`).FindStringSubmatch(messages[reloading-1].text)
	mu.Unlock()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	if sent == nil {
		t.Errorf("RELOADING=1 without MONOTONIC_USEC")
	} else if at, limit := number(t, sent[1]), now.Nano()/1000; at > limit || at < limit-patience.Microseconds() {
		t.Errorf("MONOTONIC_USEC is %d, now it is %d", at, limit)
	}
	again := told(reloading, "READY=1")
	f.stop()
	told(again, "STOPPING=1")
}
