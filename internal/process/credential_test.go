// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package process

// Workers of another user, and which path to its data a worker gets.

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/contract"
)

func TestAWorkerHasExactlyTheIdentityThatItWasGiven(t *testing.T) {
	needRoot(t)
	for _, c := range []struct {
		credential               *Credential
		uid, gid, groups, capEff string
	}{
		{&Credential{UID: 1234, GID: 2345, Groups: []int{7, 42, 65533}}, "1234", "2345", "7 42 65533", "0000000000000000"},
		{&Credential{UID: nobody, GID: nobody}, "65534", "65534", "", "0000000000000000"},
		{&Credential{UID: 0, GID: 5, Groups: []int{5}}, "0", "5", "5", ""},
	} {
		spec := command("sleep", "60")
		spec.Credential = c.credential
		p := spawned(t, spec)
		four := func(id string) string { return strings.Join([]string{id, id, id, id}, " ") }
		if have := status(t, p.PID, "Uid"); have != four(c.uid) {
			t.Errorf("%+v: uids %s", c.credential, have)
		}
		if have := status(t, p.PID, "Gid"); have != four(c.gid) {
			t.Errorf("%+v: gids %s", c.credential, have)
		}
		if have := status(t, p.PID, "Groups"); have != c.groups {
			t.Errorf("%+v: groups %q", c.credential, have)
		}
		if have := status(t, p.PID, "CapEff"); c.capEff != "" && have != c.capEff {
			t.Errorf("%+v: capabilities %s", c.credential, have)
		}
	}
}

// helpSameUser starts a worker as ourselves, with groups that we may not take on.
func helpSameUser() error {
	spec := command("id", "-u")
	spec.Stdout, spec.Stderr = 1, 2
	spec.Credential = &Credential{UID: os.Getuid(), GID: os.Getgid(), Groups: []int{0, 1, 2}}
	return runOne(spec)
}

func TestWithoutPrivilegeOnesOwnIdentityIsNoError(t *testing.T) {
	cmd, want := helper(t, "same-user"), os.Getuid()
	if os.Getuid() == 0 {
		cmd, want = asNobody(cmd), nobody
	}
	if out := output(t, cmd); out != strconv.Itoa(want)+"\n" {
		t.Errorf("the worker has uid %q, want %d", out, want)
	}
}

func TestWithoutPrivilegeAnotherIdentityIsAnError(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may be anybody")
	}
	spec := command("true")
	spec.Credential = &Credential{UID: os.Getuid() + 1, GID: os.Getgid()}
	failed, ok := start(t, spec).next(t).(SpawnFailed)
	if !ok || !failed.Permanent || !strings.HasSuffix(failed.Err.Error(), "operation not permitted") {
		t.Errorf("the event is %#v", failed)
	}
}

// memfd makes a memory file with text and opens it once more, as the supervisor does for each worker.
func memfd(t *testing.T, text string) (owned, opened int) {
	t.Helper()
	owned, err := unix.MemfdCreate("data", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(owned) })
	if _, err := unix.Write(owned, []byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fchmod(owned, 0o444); err != nil {
		t.Fatal(err)
	}
	opened, err = unix.Open(fmt.Sprintf("/proc/self/fd/%d", owned), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(opened) })
	return owned, opened
}

func TestTheDataPathLeadsToTheDataForEveryUser(t *testing.T) {
	own := Credential{UID: os.Getuid(), GID: os.Getgid()}
	for _, credential := range []*Credential{nil, &own, {UID: nobody, GID: nobody}} {
		owned, opened := memfd(t, "the data")
		through := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), owned)
		spec := command("sh", "-c", `echo "$PREFORKD_DATA_D" {path:d}; exec cat "$PREFORKD_DATA_D"`)
		spec.Plan.Data = []contract.Dataset{{Name: "d"}}
		spec.Data = []DataFile{{FD: opened, Paths: []string{temp(t) + "/missing", through}}}
		spec.Credential = credential
		want := through
		if credential != nil && credential.UID != os.Getuid() {
			needRoot(t)
			want = "/proc/self/fd/3" // another user may not look into our /proc
		}
		p := start(t, spec)
		if text := p.text(t); text != fmt.Sprintf("%s %s\nthe data", want, want) {
			t.Errorf("as %+v the worker says %q, want the path %s; the log: %s", credential, text, want, p.log)
		}
	}
}

func TestAPathThatLeadsElsewhereIsNeverChosen(t *testing.T) {
	dir := temp(t)
	owned, opened := memfd(t, "mine")
	stale, _ := memfd(t, "mine") // the same text, another inode
	through := func(fd int) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd) }
	for link, target := range map[string]string{"good": through(owned), "stale": through(stale), "dangling": dir + "/none"} {
		if err := os.Symlink(target, dir+"/"+link); err != nil {
			t.Fatal(err)
		}
	}
	last := fmt.Sprintf("/proc/self/fd/%d", opened)
	for _, c := range []struct {
		candidates []string
		want       string
	}{
		{nil, last},
		{[]string{dir + "/good", through(owned)}, dir + "/good"},
		{[]string{dir + "/stale", through(owned)}, through(owned)},
		{[]string{dir + "/dangling", dir + "/stale", dir, ""}, last},
	} {
		if have := choosePath(opened, c.candidates); have != c.want {
			t.Errorf("of %q it chose %s, want %s", c.candidates, have, c.want)
		}
	}
	if have := choosePath(1<<20, []string{dir + "/good"}); have != "/proc/self/fd/1048576" {
		t.Errorf("for a descriptor that is not open it chose %s", have)
	}
}
