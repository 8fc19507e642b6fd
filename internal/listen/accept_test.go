// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package listen

// Options, and what the notes say.

import (
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAcceptIsReadAndWritten(t *testing.T) {
	for _, a := range []Accept{Shared, Reuseport} {
		if have, err := ParseAccept(a.String()); have != a || err != nil {
			t.Errorf("%s: %v %v", a, have, err)
		}
	}
	for _, text := range []string{"", "Shared", "reuse-port", "shared "} {
		_, err := ParseAccept(text)
		if want := `cannot accept by "` + text + `": use shared or reuseport`; err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestWhatCannotBeOneForEachSlotIsSharedAndSaidSo(t *testing.T) {
	inherited := []Inherited{{"web", inherit(t, "tcp", "127.0.0.1:0")}}
	set := openWith(t, slots(2), inherited, "127.0.0.1:0", "api=unix:"+t.TempDir()+"/s")
	listenAll(t, set)
	a, b := set.FDs(0), set.FDs(1)
	if a[0] == b[0] || a[1] != b[1] || a[2] != b[2] {
		t.Errorf("slot 0 gets %d, slot 1 %d", a, b)
	}
	for i, want := range []Accept{Reuseport, Shared, Shared} {
		if have := set.Sockets[i].Accept; have != want {
			t.Errorf("%s is %s, want %s", set.Sockets[i].Name, have, want)
		}
	}
	for _, s := range set.Sockets {
		if err := dial(t, s); err != nil {
			t.Errorf("%s: %v", s.Name, err)
		}
	}
	at := func(i int) string { return set.Sockets[i].Address }
	want := []string{"tcp " + at(0), "unix " + at(1)[len("unix:"):], "tcp " + at(2)}
	if have := set.Dial(); !slices.Equal(have, want) {
		t.Errorf("they are dialled at %q, want %q", have, want)
	}
	want = []string{"all workers share api, web: " +
		"unix sockets and sockets that were handed down cannot be one for each worker (reuseport)"}
	if have := set.Notes(); !slices.Equal(have, want) {
		t.Errorf("the notes are %q, want %q", have, want)
	}
	for _, set := range []*Set{
		openWith(t, slots(2), nil, "127.0.0.1:0"),
		openWith(t, Options{Slots: 2}, nil, "127.0.0.1:0", "unix:"+t.TempDir()+"/s"),
	} {
		if have := set.Notes(); have != nil {
			t.Errorf("the notes are %q", have)
		}
	}
}

func TestTheFileOfAUnixSocketHasItsModeAtOnce(t *testing.T) {
	old := unix.Umask(0o027)
	defer unix.Umask(old)
	for mode, want := range map[fs.FileMode]fs.FileMode{0: 0o750, 0o600: 0o600, 0o666: 0o666, 0o777: 0o777} {
		path := t.TempDir() + "/app.sock"
		set := openWith(t, Options{UnixMode: mode}, nil, "unix:"+path)
		info, err := os.Lstat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("mode %#o: the file is %v, want %v: %v", mode, info.Mode(), want, err)
		}
		set.Close()
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("mode %#o: the file is left: %v", mode, err)
		}
	}
	set := openWith(t, Options{UnixMode: 0o600}, nil, "unix:@preforkd-test-"+strings.ReplaceAll(t.TempDir(), "/", "-"))
	if notes := set.Notes(); len(notes) != 1 || !strings.Contains(notes[0], "has no file and so no mode") {
		t.Errorf("the notes are %q", notes)
	}
}

func TestTheModeOfWhatALinkLeadsToIsNotChanged(t *testing.T) {
	dir := t.TempDir()
	open(t, nil, "unix:"+dir+"/other")
	before, err := os.Lstat(dir + "/other")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir+"/other", dir+"/app.sock"); err != nil {
		t.Fatal(err)
	}
	if err := setMode(dir+"/app.sock", 0o600); err == nil {
		t.Error("a symbolic link was taken for a socket")
	}
	if after, err := os.Lstat(dir + "/other"); err != nil || after.Mode() != before.Mode() {
		t.Errorf("the mode was %v and is %v: %v", before.Mode(), after.Mode(), err)
	}
}
