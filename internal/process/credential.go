// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Credential is whom a worker runs as. Groups replaces the supplementary groups.
type Credential struct {
	UID, GID int
	Groups   []int
}

// setCredential drops to c on this thread alone; the execve that follows ends the others. Who may not change groups and
// already is that user and group keeps the groups that he has: --user with one's own name is no error.
func setCredential(c *Credential) error {
	err := setGroups(c.Groups)
	if errors.Is(err, unix.EPERM) && c.isOurs() {
		return nil
	}
	if err != nil {
		return fmt.Errorf("setgroups: %w", err)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(c.GID), uintptr(c.GID), uintptr(c.GID)); e != 0 {
		return fmt.Errorf("setresgid: %w", e)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(c.UID), uintptr(c.UID), uintptr(c.UID)); e != 0 {
		return fmt.Errorf("setresuid: %w", e)
	}
	return nil
}

func (c *Credential) isOurs() bool {
	ruid, euid, suid := unix.Getresuid()
	rgid, egid, sgid := unix.Getresgid()
	return ruid == c.UID && euid == c.UID && suid == c.UID && rgid == c.GID && egid == c.GID && sgid == c.GID
}

// setGroups is setgroups(2) on this thread alone. x/sys has only the form that Go runs on every thread, which the exec
// stage neither needs nor may wait for.
func setGroups(groups []int) error {
	list := make([]uint32, len(groups)+1) // one more, so that &list[0] exists
	for i, gid := range groups {
		list[i] = uint32(gid)
	}
	_, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(&list[0])), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
