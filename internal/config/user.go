// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"

	"github.com/preforkd/preforkd/supervisor"
)

// lookupUser turns --user USER[:GROUP] and --group into an identity; nil when neither was given. A number need not be
// in the user database; then there are no supplementary groups, and the group is the number too.
func (o *Options) lookupUser() (*supervisor.User, error) {
	if o.User == "" && o.Group == "" {
		return nil, nil
	}
	name, group, both := strings.Cut(o.User, ":")
	userThere, groupThere := o.spell("user", o.User), o.spell("group", o.Group)
	switch {
	case both && o.Group != "" && o.Group != group:
		return nil, fmt.Errorf("cannot use %s with %s: give the group once", userThere, groupThere)
	case both:
		groupThere = userThere
	default:
		group = o.Group
	}
	u := &supervisor.User{UID: os.Geteuid(), GID: os.Getegid()}
	if name != "" {
		if err := setUser(u, name); err != nil {
			return nil, fmt.Errorf("cannot use %s: %v", userThere, err)
		}
	}
	if group != "" {
		text := group
		if found, err := user.LookupGroup(group); err == nil {
			text = found.Gid
		}
		gid, err := id(text)
		if err != nil {
			return nil, fmt.Errorf("cannot use %s: there is no group %q; give a name or a number", groupThere, group)
		}
		u.GID, u.Groups = gid, []int{gid}
	}
	if os.Geteuid() != 0 && (u.UID != os.Geteuid() || u.GID != os.Getegid()) {
		return nil, fmt.Errorf("cannot run workers as another user (uid %d, gid %d): "+
			"preforkd itself must run as root for that", u.UID, u.GID)
	}
	return u, nil
}

// setUser sets all but the group that was given apart.
func setUser(u *supervisor.User, name string) error {
	found, err := user.Lookup(name)
	if _, numeric := strconv.Atoi(name); err != nil && numeric == nil {
		found, err = user.LookupId(name)
		if err != nil {
			found, err = &user.User{Uid: name, Gid: name}, nil
		}
	}
	if err != nil {
		return fmt.Errorf("there is no user %q; give a name or a number", name)
	}
	if u.UID, err = id(found.Uid); err != nil {
		return err
	}
	if u.GID, err = id(found.Gid); err != nil {
		return err
	}
	u.Name, u.Home = found.Username, found.HomeDir
	if found.Username == "" {
		return nil
	}
	groups, err := found.GroupIds()
	if err != nil {
		return err
	}
	for _, text := range groups {
		if gid, err := id(text); err == nil {
			u.Groups = append(u.Groups, gid)
		}
	}
	return nil
}

func id(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n == 1<<32-1 { // (uid_t)-1 means "leave it" to setresuid
		return 0, fmt.Errorf("%s is no user or group id; give a name or a number from 0 to 4294967294", text)
	}
	return int(n), nil
}
