// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAUnixSocketIsMadeServesAndIsRemoved(t *testing.T) {
	path := t.TempDir() + "/app.sock"
	set := open(t, nil, "unix:"+path)
	s := set.Sockets[0]
	if s.Address != "unix:"+path || s.Port != 0 || s.Name != "http" {
		t.Errorf("it is %+v", s)
	}
	if err := dial(t, s); !isRefused(err) {
		t.Errorf("a connection before it listens: %v", err)
	}
	if err := set.Listen(0); err != nil {
		t.Fatal(err)
	}
	if err := dial(t, s); err != nil {
		t.Error(err)
	}
	if n, ok := s.Queue(); ok {
		t.Errorf("the queue is %d, which the kernel does not tell", n)
	}
	set.Close()
	set.Close()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the file is left: %v", err)
	}
}

func TestARelativePathIsOneOfTheWorkingDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	set := open(t, nil, "unix:app.sock")
	if _, err := os.Lstat("app.sock"); err != nil {
		t.Error(err)
	}
	// The same place by another name.
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	refused(t, "cannot listen on unix:"+here+"/app.sock: another process listens there; stop it or use another path", "unix:"+here+"/app.sock")
	set.Close()
}

func TestTheFileOfAKilledProcessIsReplaced(t *testing.T) {
	path := t.TempDir() + "/app.sock"
	stale(t, path)
	set := open(t, nil, "unix:"+path)
	if err := set.Listen(0); err != nil {
		t.Fatal(err)
	}
	if err := dial(t, set.Sockets[0]); err != nil {
		t.Error(err)
	}
}

// stale leaves the file of a socket that nobody has.
func stale(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
}

func TestALiveSocketIsRefused(t *testing.T) {
	path := t.TempDir() + "/app.sock"
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const why = ": another process listens there; stop it or use another path"
	refused(t, "cannot listen on unix:"+path+why, "unix:"+path)
	if conn, err := net.Dial("unix", path); err != nil {
		t.Errorf("the socket of the other process is gone: %v", err)
	} else {
		conn.Close()
	}
}

// During its load a preforkd is bound and does not listen: a connection is refused as by nobody.
func TestASocketThatDoesNotListenYetIsRefusedToo(t *testing.T) {
	dir := t.TempDir()
	path := dir + "/a b (c).sock"
	first := open(t, nil, "unix:"+path)
	const why = ": another process listens there; stop it or use another path"
	refused(t, "cannot listen on unix:"+path+why, "unix:"+path)
	if err := os.Symlink(dir, dir+"/link"); err != nil {
		t.Fatal(err)
	}
	refused(t, "cannot listen on unix:"+dir+"/link/a b (c).sock"+why, "unix:"+dir+"/link/a b (c).sock")
	// A stale file of the same name elsewhere is stale.
	other := t.TempDir() + "/a b (c).sock"
	stale(t, other)
	open(t, nil, "unix:"+other)
	if err := first.Listen(0); err != nil {
		t.Fatal(err)
	}
	if err := dial(t, first.Sockets[0]); err != nil {
		t.Error(err)
	}
}

func TestAFileOfAnotherKindIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	file := dir + "/file"
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, dir+"/link"); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(dir+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	const why = ": a file of another kind is there; remove it or use another path"
	for _, path := range []string{file, dir + "/link", dir + "/fifo", dir} {
		refused(t, "cannot listen on unix:"+path+why, "unix:"+path)
	}
	if text, err := os.ReadFile(file); string(text) != "precious" || err != nil {
		t.Errorf("the file is %q: %v", text, err)
	}
	refused(t, "cannot listen on unix:"+file+"/x: not a directory", "unix:"+file+"/x")
	refused(t, "cannot listen on unix:"+dir+"/none/x: no such file or directory", "unix:"+dir+"/none/x")
}

func TestTheFileThatAnotherHasMadeSinceIsLeftAlone(t *testing.T) {
	path := t.TempDir() + "/app.sock"
	set := open(t, nil, "unix:"+path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	set.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the other's file is gone: %v", err)
	}
}

func TestAnAbstractSocketHasNoFile(t *testing.T) {
	t.Chdir(t.TempDir())
	name := "@preforkd-test-" + filepath.Base(t.TempDir()) + strings.ReplaceAll(t.Name(), "/", "-")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	set := open(t, nil, "unix:"+name)
	refused(t, "cannot listen on unix:"+name+": another process listens there; stop it or use another path", "unix:"+name)
	if err := set.Listen(0); err != nil {
		t.Fatal(err)
	}
	if err := dial(t, set.Sockets[0]); err != nil {
		t.Error(err)
	}
	if want := []string{"unix " + name}; !slices.Equal(set.Dial(), want) {
		t.Errorf("it is dialled at %q, want %q", set.Dial(), want)
	}
	set.Close()
	if _, err := os.Lstat(name); err != nil {
		t.Errorf("a file of that name is gone: %v", err)
	}
}
