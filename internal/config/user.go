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
func lookupUser(name, group string) (*supervisor.User, error) {
	if name == "" && group == "" {
		return nil, nil
	}
	if before, after, ok := strings.Cut(name, ":"); ok {
		if group != "" && group != after {
			return nil, fmt.Errorf("cannot use --user %s with --group %s: give the group once", name, group)
		}
		name, group = before, after
	}
	u := &supervisor.User{UID: os.Geteuid(), GID: os.Getegid()}
	if name != "" {
		found, err := user.Lookup(name)
		if _, numeric := strconv.Atoi(name); err != nil && numeric == nil {
			found, err = user.LookupId(name)
			if err != nil {
				found, err = &user.User{Uid: name, Gid: name}, nil
			}
		}
		if err != nil {
			return nil, fmt.Errorf("cannot use --user %s: there is no such user; give a name or a number", name)
		}
		if u.UID, err = id(found.Uid); err != nil {
			return nil, fmt.Errorf("cannot use --user %s: %v", name, err)
		}
		if u.GID, err = id(found.Gid); err != nil {
			return nil, fmt.Errorf("cannot use --user %s: %v", name, err)
		}
		u.Name, u.Home = found.Username, found.HomeDir
		if found.Username != "" {
			groups, err := found.GroupIds()
			if err != nil {
				return nil, fmt.Errorf("cannot use --user %s: %v", name, err)
			}
			for _, text := range groups {
				if gid, err := id(text); err == nil {
					u.Groups = append(u.Groups, gid)
				}
			}
		}
	}
	if group != "" {
		text := group
		if found, err := user.LookupGroup(group); err == nil {
			text = found.Gid
		}
		gid, err := id(text)
		if err != nil {
			return nil, fmt.Errorf("cannot use --group %s: there is no such group; give a name or a number", group)
		}
		u.GID, u.Groups = gid, []int{gid}
	}
	if os.Geteuid() != 0 && (u.UID != os.Geteuid() || u.GID != os.Getegid()) {
		return nil, fmt.Errorf("cannot run workers as another user (uid %d, gid %d): "+
			"preforkd itself must run as root for that", u.UID, u.GID)
	}
	return u, nil
}

func id(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n == 1<<32-1 { // (uid_t)-1 means "leave it" to setresuid
		return 0, fmt.Errorf("%q is not an id", text)
	}
	return int(n), nil
}
