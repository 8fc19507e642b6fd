// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	groupPoll = 50 * time.Millisecond
	killEvery = 5 * time.Second
	// zombieCheck: every so many polls, see whether only zombies are left, which kill(2) counts as members.
	zombieCheck = 10
	// maxKills: what outlives them is stuck in the kernel and does us no harm.
	maxKills = 3
)

// clearGroup returns when nobody is left in the process group of a leader that was reaped. At the deadline, or as soon
// as killed is closed, it kills, and then again and again. No event tells when a group is empty, so this polls. While
// it has a member its number cannot be given to anyone else; between two polls it could only if the whole pid space
// went round.
func clearGroup(pgid int, deadline *time.Timer, killed <-chan struct{}) {
	defer deadline.Stop()
	poll := time.NewTicker(groupPoll)
	defer poll.Stop()
	polls, kills := 0, 0
	for kills < maxKills && unix.Kill(-pgid, 0) == nil {
		select {
		case <-poll.C:
			if polls++; polls%zombieCheck == 0 && onlyZombies(pgid) {
				return
			}
			continue
		case <-deadline.C:
		case <-killed:
			killed = nil
		}
		_ = unix.Kill(-pgid, unix.SIGKILL)
		kills++
		deadline.Reset(killEvery)
	}
}

// onlyZombies tells whether all members of a group have ended: their parent, or PID 1 where we are no subreaper, takes
// its time to reap them.
func onlyZombies(pgid int) bool {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(files) == 0 {
		return false
	}
	group := []byte(strconv.Itoa(pgid))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		// pid (comm) state ppid pgrp …, and comm may hold anything, ") Z 1" too.
		fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
		if len(fields) > 2 && bytes.Equal(fields[2], group) && fields[0][0] != 'Z' && fields[0][0] != 'X' {
			return false
		}
	}
	return true
}
