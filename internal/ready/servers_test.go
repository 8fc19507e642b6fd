// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package ready

// The verdict on real servers: not seen while they import, seen after it, and then a request is answered.

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/host"
)

func TestServersAreReadyWhenTheyServeAndNotBefore(t *testing.T) {
	const sh = `LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"`
	python := func(args ...string) func(*testing.T) []string {
		return func(t *testing.T) []string { return append([]string{findPython(t)}, args...) }
	}
	gunicorn := func(args ...string) func(*testing.T) []string {
		return func(t *testing.T) []string {
			base := []string{"/bin/sh", "-c", sh, "sh", findVenv(t, "gunicorn"), "--no-control-socket", "apps:wsgi"}
			return append(base, args...)
		}
	}
	servers := map[string]func(*testing.T) []string{
		"gunicorn sync":    gunicorn(),
		"gunicorn gthread": gunicorn("--threads", "4"),
		"uvicorn": func(t *testing.T) []string {
			return []string{findVenv(t, "uvicorn"), "--fd", "3", "apps:asgi"}
		},
		"http.server":          python("loops.py", "http_server"),
		"python accept":        python("loops.py", "accept"),
		"python accept, timed": python("loops.py", "accept_timeout"),
		"python accept thread": python("loops.py", "accept_in_thread"),
		"python select":        python("loops.py", "select_"),
		"python poll":          python("loops.py", "poll"),
		"python nested epoll":  python("loops.py", "nested_epoll"),
		"python asyncio":       python("loops.py", "asyncio_"),
		"a child of a shell": func(t *testing.T) []string {
			return []string{"/bin/sh", "-c", `"$@"; exit 1`, "sh", findPython(t), "loops.py", "poll"}
		},
		"node": func(t *testing.T) []string { return []string{find(t, "node"), "server.js"} },
		"perl": func(t *testing.T) []string { return []string{find(t, "perl"), "accept.pl"} },
		"go":   func(*testing.T) []string { return []string{"/proc/self/exe", "go-server"} },
	}
	for name, command := range servers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			listener := listen(t)
			gate := newGate(t)
			w := start(t, listener, gate, "", command(t))

			release := gate.entered(t, w)
			for range 3 {
				if verdict, err := w.look(); verdict != NotSeen || err != nil {
					t.Fatalf("during the import: %v, %v", verdict, err)
				}
			}
			release()
			ctx, cancel := context.WithCancelCause(t.Context())
			go func() { <-w.exited; cancel(errors.New("it ended")) }()
			if err := w.probe(nil).Wait(ctx); err != nil {
				t.Fatalf("not ready: %v (%v)\n%s", err, context.Cause(ctx), w.output())
			}
			client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
			response, err := client.Get("http://" + listener.address)
			if err != nil {
				t.Fatalf("ready, but: %v", err)
			}
			defer response.Body.Close()
			if body, err := io.ReadAll(response.Body); string(body) != "ready" {
				t.Fatalf("answer %q, %v", body, err)
			}
		})
	}
}

func TestAnInheritedListenerNobodyWaitsOnIsNotReady(t *testing.T) {
	// What each of them waits in, so that the look is taken then and not before.
	const epollWait = 232 // amd64; arm64 has none, and 232 is mincore there
	calls := map[string][]int{
		"sleep":          {syscall.SYS_CLOCK_NANOSLEEP, syscall.SYS_NANOSLEEP, native().selekt, native().pselect6},
		"read":           {syscall.SYS_READ},
		"accept":         {native().accept, native().accept4},
		"poll":           {native().poll, native().ppoll},
		"select_":        {native().selekt, native().pselect6},
		"epoll":          {epollWait, syscall.SYS_EPOLL_PWAIT},
		"epoll_disarmed": {epollWait, syscall.SYS_EPOLL_PWAIT},
		"closed":         {native().accept, native().accept4},
	}
	for name, numbers := range calls {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			listener := listen(t)
			w := start(t, listener, nil, "", []string{findPython(t), "idle.py", name})
			w.inside(t, numbers)
			if verdict, err := w.look(); verdict != NotSeen || err != nil {
				t.Fatalf("%v, %v", verdict, err)
			}
		})
	}
}

// A server that handles one request at a time and always has one is never seen waiting.
func TestAServerTooBusyToWaitIsReady(t *testing.T) {
	for name, listen := range map[string]func(t testing.TB) listener{
		"tcp":  listen,
		"tcp6": func(t testing.TB) listener { return listenAt(t, unix.AF_INET6, &unix.SockaddrInet6{}) }, // both families
		"unix": func(t testing.TB) listener {
			return listenAt(t, unix.AF_UNIX, &unix.SockaddrUnix{Name: filepath.Join(t.TempDir(), "a b:c.sock")})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			listener, gate := listen(t), newGate(t)
			w := start(t, listener, gate, "", []string{findPython(t), "loops.py", "accept"})
			release := gate.entered(t, w)
			// It is accepted at once, and then sends nothing.
			client, err := net.Dial(listener.network, listener.address)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			look := func() {
				if verdict, err := w.look(); verdict != NotSeen || err != nil {
					t.Errorf("during the import: %v, %v", verdict, err)
				}
			}
			look()
			withoutGetfd(t, look)
			release()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			wait := func() {
				if err := w.probe(nil).Wait(ctx); err != nil {
					t.Error(err)
				}
			}
			wait()
			withoutGetfd(t, wait)
		})
	}
}

// gunicorn says READY=1 before it imports the application.
func TestReadyFromGunicornDoesNotCountBeforeItServes(t *testing.T) {
	for _, app := range []string{"apps:wsgi", "broken:app"} {
		t.Run(app, func(t *testing.T) {
			listener := listen(t)
			gate := newGate(t)
			notifier, notified := listenReady(t)
			w := start(t, listener, gate, notifier.Addr(), []string{
				"/bin/sh", "-c", `LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"`, "sh",
				findVenv(t, "gunicorn"), "--no-control-socket", app,
			})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() { <-w.exited; cancel() }()
			result := make(chan error, 1)
			go func() { result <- w.probe(notified).Wait(ctx) }()

			release := gate.entered(t, w)
			select {
			case <-notified:
			case <-w.exited:
				t.Fatalf("it ended:\n%s", w.output())
			}
			select {
			case err := <-result:
				t.Fatalf("ready by READY=1 during the import: %v", err)
			default:
			}
			release()
			err := <-result
			if broken := app == "broken:app"; broken != errors.Is(err, context.Canceled) || !broken && err != nil {
				t.Fatalf("%v\n%s", err, w.output())
			}
		})
	}
}

// BenchmarkLook is what one probe costs, without and with the walk of the tree.
func BenchmarkLook(b *testing.B) {
	listener := listen(b)
	for name, command := range map[string][]string{
		"python, 3 fds": {findPython(b), "idle.py", "read"},
		"gunicorn, sync, importing": {
			"/bin/sh", "-c", `LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"`, "sh", findVenv(b, "gunicorn"), "apps:wsgi",
		},
		"python, 64 threads": {findPython(b), "-c", threads64},
	} {
		b.Run(name, func(b *testing.B) {
			gate := newGate(b)
			w := start(b, listener, gate, "", command)
			if strings.HasPrefix(name, "gunicorn") {
				gate.entered(b, w)
			} else {
				w.inside(b, []int{syscall.SYS_READ})
			}
			l := looker{proc: "/proc", inodes: w.inodes, numbers: native()}
			b.Run("look", func(b *testing.B) {
				b.ReportAllocs()
				pids := host.Tree("/proc", w.pid)
				for b.Loop() {
					if s := l.look(pids); s.verdict != NotSeen {
						b.Fatal(s)
					}
				}
			})
			b.Run("tree and look", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					l.look(host.Tree("/proc", w.pid))
				}
			})
		})
	}
}

const threads64 = `
import os, threading, time
for _ in range(64): threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
r, w = os.pipe(); print('waiting', flush=True); os.read(r, 1)`

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "go-server" {
		goServer()
	}
	goleak.VerifyTestMain(m)
}
