// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package ready

// Servers that have more to do than they can from their first moment: they never wait for a connection.

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// load keeps a listener's queue full with connections of one request each, until the test ends.
func load(t *testing.T, l listener) {
	t.Helper()
	const clients = 16
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	t.Cleanup(func() { cancel(); all.Wait() })
	ask := func() {
		conn, err := new(net.Dialer).DialContext(ctx, l.network, l.address)
		if err != nil {
			return
		}
		defer conn.Close()
		defer context.AfterFunc(ctx, func() { conn.Close() })()
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		_, _ = io.Copy(io.Discard, conn)
	}
	for range clients {
		all.Go(func() {
			for ctx.Err() == nil {
				ask()
			}
		})
	}
}

func TestASaturatedServerIsReady(t *testing.T) {
	gunicorn := func(t *testing.T, args ...string) []string {
		return append([]string{
			"/bin/sh", "-c", `LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"`, "sh",
			findVenv(t, "gunicorn"), "--no-control-socket", "apps:wsgi",
		}, args...)
	}
	for name, command := range map[string]func(*testing.T) []string{
		"gunicorn sync":    func(t *testing.T) []string { return gunicorn(t) },
		"gunicorn gthread": func(t *testing.T) []string { return gunicorn(t, "--threads", "4") },
		"uvicorn": func(t *testing.T) []string {
			return []string{findVenv(t, "uvicorn"), "--fd", "3", "--no-access-log", "apps:asgi"}
		},
	} {
		for where, on := range map[string]func(testing.TB, func()){
			"":                               func(_ testing.TB, f func()) { f() },
			", descriptors may not be asked": withoutGetfd,
		} {
			t.Run(name+where, func(t *testing.T) {
				listener, gate := listen(t), newGate(t)
				w := start(t, listener, gate, "", command(t))
				release := gate.entered(t, w)
				load(t, listener)
				release()
				// Half a second is what is usual; a machine with other things to do gets more.
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				on(t, func() {
					if err := w.probe(nil).Wait(ctx); err != nil {
						t.Errorf("not seen: %v\n%s", err, w.output())
					}
				})
			})
		}
	}
}

// withoutGetfd runs f on a thread that may not call pidfd_getfd, as in a container of Docker's.
func withoutGetfd(t testing.TB, f func()) {
	t.Helper()
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		t.Skip("the filter below is for little-endian machines")
	}
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_PIDFD_GETFD},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	asThread(func() {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			t.Error(err)
			return
		}
		mode := uintptr(unix.SECCOMP_MODE_FILTER)
		if err := unix.Prctl(unix.PR_SET_SECCOMP, mode, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil {
			t.Error(err)
			return
		}
		if _, err := unix.PidfdGetfd(-1, 0, 0); !errors.Is(err, unix.EPERM) {
			t.Errorf("pidfd_getfd is not refused: %v", err)
		}
		f()
	})
}
