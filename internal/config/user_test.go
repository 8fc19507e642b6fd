// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/preforkd/preforkd/supervisor"
)

func TestWithoutUserAndGroupThereIsNoIdentity(t *testing.T) {
	if u, err := (&Options{User: "", Group: ""}).lookupUser(); u != nil || err != nil {
		t.Errorf("it is %+v: %v", u, err)
	}
}

func TestUsersThatRootMayName(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may run workers as another user")
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Skip("this machine has no user nobody")
	}
	uid, gid := numberOf(t, nobody.Uid), numberOf(t, nobody.Gid)
	named := supervisor.User{UID: uid, GID: gid, Groups: []int{gid}, Name: "nobody", Home: nobody.HomeDir}
	withGroup := func(gid int) supervisor.User {
		u := named
		u.GID, u.Groups = gid, []int{gid}
		return u
	}
	for _, c := range []struct {
		user, group string
		want        supervisor.User
	}{
		{"nobody", "", named},
		{nobody.Uid, "", named},
		{"nobody", "root", withGroup(0)},
		{"nobody:root", "", withGroup(0)},
		{"nobody:root", "root", withGroup(0)},
		{"nobody:0", "", withGroup(0)},
		{"nobody:", "", named},
		{"nobody:4242", "", withGroup(4242)},
		{nobody.Uid + ":4242", "", withGroup(4242)},
		{"424242", "", supervisor.User{UID: 424242, GID: 424242}},
		{"424242:7", "", supervisor.User{UID: 424242, GID: 7, Groups: []int{7}}},
		{"", "4242", supervisor.User{UID: 0, GID: 4242, Groups: []int{4242}}},
		{":4242", "", supervisor.User{UID: 0, GID: 4242, Groups: []int{4242}}},
		{"4294967294", "", supervisor.User{UID: 1<<32 - 2, GID: 1<<32 - 2}},
	} {
		have, err := (&Options{User: c.user, Group: c.group}).lookupUser()
		if err != nil {
			t.Errorf("--user %q --group %q: %v", c.user, c.group, err)
			continue
		}
		if c.want.Name == "" && have.Name != "" {
			continue // this machine happens to have such a user
		}
		equal(t, *have, c.want)
	}
	root, err := (&Options{User: "root", Group: ""}).lookupUser()
	if err != nil || root.UID != 0 || root.GID != 0 || root.Name != "root" || !slices.Contains(root.Groups, 0) {
		t.Errorf("root is %+v: %v", root, err)
	}
}

func TestUsersThatDoNotExist(t *testing.T) {
	const noID = "is no user or group id; give a name or a number from 0 to 4294967294"
	for _, c := range []struct{ user, group, want string }{
		{"no-such-user", "", `cannot use --user "no-such-user": there is no user "no-such-user"; give a name or a number`},
		{"no-such-user:root", "", `cannot use --user "no-such-user:root": there is no user "no-such-user"; give a name or a number`},
		{"-1", "", `cannot use --user "-1": -1 ` + noID},
		{"4294967295", "", `cannot use --user "4294967295": 4294967295 ` + noID}, // (uid_t)-1: setresuid would leave it
		{"99999999999999999999", "", `cannot use --user "99999999999999999999": there is no user "99999999999999999999"; give a name or a number`},
		{"0:no-such-group", "", `cannot use --user "0:no-such-group": there is no group "no-such-group"; give a name or a number`},
		{"", "no-such-group", `cannot use --group "no-such-group": there is no group "no-such-group"; give a name or a number`},
		{"0:4294967295", "", `cannot use --user "0:4294967295": there is no group "4294967295"; give a name or a number`},
		{"0:1", "2", `cannot use --user "0:1" with --group "2": give the group once`},
	} {
		if u, err := (&Options{User: c.user, Group: c.group}).lookupUser(); err == nil || err.Error() != c.want {
			t.Errorf("--user %q --group %q: %+v %v\nwant %s", c.user, c.group, u, err, c.want)
		}
	}
}

func TestWithoutPrivilegeOnlyOnesOwnUserMayBeNamed(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may name everybody")
	}
	own := strconv.Itoa(os.Geteuid())
	u, err := (&Options{User: own + ":" + strconv.Itoa(os.Getegid()), Group: ""}).lookupUser()
	if err != nil || u.UID != os.Geteuid() || u.GID != os.Getegid() {
		t.Errorf("its own: %+v %v", u, err)
	}
	if _, err = (&Options{User: "root", Group: ""}).lookupUser(); err == nil || !strings.HasSuffix(err.Error(), "preforkd itself must run as root for that") {
		t.Errorf("root: %v", err)
	}
	if _, err = (&Options{User: "", Group: "0"}).lookupUser(); err == nil || !strings.HasSuffix(err.Error(), "preforkd itself must run as root for that") {
		t.Errorf("the group of root: %v", err)
	}
}

func numberOf(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
