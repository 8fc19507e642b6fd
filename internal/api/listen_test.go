// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// Addresses and the client.

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/preforkd/preforkd/internal/api/apitest"
)

func TestAnAddressIsCheckedBeforeItIsBound(t *testing.T) {
	for address, ok := range map[string]bool{
		"127.0.0.1:9797": true, ":9797": true, "[::1]:0": true, "localhost:65535": true, "unix:/run/x.sock": true,
		"off": true, "Off": false, "": false, "9797": false, "127.0.0.1": false, "127.0.0.1:http": false,
		"127.0.0.1:65536": false, "127.0.0.1:-1": false, "http://127.0.0.1:9797": false, "::1:9797": false,
		"unix:": false, "unix:/" + strings.Repeat("x", 107): false,
	} {
		if err := CheckAddress(address); (err == nil) != ok {
			t.Errorf("CheckAddress(%q) = %v", address, err)
		} else if err != nil && !strings.Contains(err.Error(), address) {
			t.Errorf("%v does not name %q", err, address)
		}
	}
	if l, err := Listen("off"); l != nil || err != nil {
		t.Errorf("Listen(off) = %v, %v", l, err)
	}
	if _, err := Listen("nonsense"); err == nil {
		t.Error("Listen takes nonsense")
	}
}

// Whoever guards IPv4 by a firewall and writes 0.0.0.0 must not be open by IPv6.
func TestAnAddressOfIPv4IsNotBoundByIPv6(t *testing.T) {
	probe, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skipf("this machine has no IPv6: %v", err)
	}
	probe.Close()
	for address, want := range map[string]struct{ four, six bool }{
		"0.0.0.0:0": {true, false}, "127.0.0.1:0": {true, false}, "[::1]:0": {false, true}, "[::]:0": {true, true}, ":0": {true, true},
	} {
		l, err := Listen(address)
		if err != nil {
			t.Fatal(err)
		}
		_, port, err := net.SplitHostPort(l.Address())
		if err != nil {
			t.Fatal(err)
		}
		for host, want := range map[string]bool{"127.0.0.1": want.four, "::1": want.six} {
			conn, err := net.Dial("tcp", net.JoinHostPort(host, port))
			if err == nil {
				conn.Close()
			}
			if answers := err == nil; answers != want || err != nil && !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("--stats %s, which is %s: answers on %s: %v, want %v (%v)", address, l.Address(), host, answers, want, err)
			}
		}
		l.Close()
	}
}

func TestATakenAddressIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	for _, address := range []string{"127.0.0.1:0", "unix:" + path} {
		first, err := Listen(address)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Listen(first.Address())
		if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), first.Address()) {
			t.Errorf("Listen(%s) = %v, want EADDRINUSE with the address", first.Address(), err)
		}
		if strings.Count(err.Error(), "bind") > 0 {
			t.Errorf("%v repeats the system call", err)
		}
		if err := first.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("Close leaves the socket: %v", err)
	}
}

func TestOnlyADeadSocketIsReplaced(t *testing.T) {
	dir := t.TempDir()
	dead, file := filepath.Join(dir, "dead.sock"), filepath.Join(dir, "file")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	again, err := Listen("unix:" + dead)
	if err != nil {
		t.Fatalf("a dead socket is in the way: %v", err)
	}
	again.Close()
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen("unix:" + file); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("on a file: %v", err)
	}
	if text, _ := os.ReadFile(file); string(text) != "mine" {
		t.Error("the file is gone")
	}
	if _, err := Listen("unix:" + filepath.Join(dir, "missing", "x")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("in a missing folder: %v", err)
	}
}

func TestTheClientGetsWhatWasServed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	l, err := ListenControl(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := l.Address(); got != "unix:"+path {
		t.Errorf("Address = %q", got)
	}
	source := apitest.NewSource(apitest.Rich())
	start(t, source, l)
	got, raw, err := Dial(path).Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(apitest.Rich(), got); diff != "" {
		t.Errorf("-served +received:\n%s", diff)
	}
	if !strings.HasPrefix(string(raw), "{\n") {
		t.Errorf("raw begins with %.20q", raw)
	}

	newer := apitest.Example()
	newer.Schema, newer.Supervisor.Version = 99, "9.9"
	source.View.Store(newer)
	if _, raw, err := Dial(path).Stats(t.Context()); err == nil || !strings.Contains(err.Error(), "9.9") || raw == nil {
		t.Errorf("an unknown schema: %v", err)
	}
	source.View.Store(nil)
	if _, _, err := Dial(path).Stats(t.Context()); err == nil || !strings.Contains(err.Error(), "preforkd is starting") {
		t.Errorf("without a snapshot: %v", err)
	}
}

func TestTheClientSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	_, _, err := Dial(filepath.Join(dir, "missing.sock")).Stats(t.Context())
	if !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(err.Error(), "cannot reach preforkd at "+dir) {
		t.Errorf("no socket: %v", err)
	}

	path := filepath.Join(dir, "other.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
	})}
	go server.Serve(l)
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 1)
	defer cancel()
	if _, _, err := Dial(path).Stats(ctx); err == nil || !strings.Contains(err.Error(), "did not answer in time") {
		t.Errorf("a silent server: %v", err)
	}
}
