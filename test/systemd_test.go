// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: sockets that systemd passes to preforkd are taken over under their names, and served by workers.

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
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
