// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

// A worker's side of taking new versions in place: docs/in-place.md.

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// takeVersions tells preforkd that this process takes new versions of emb itself, and does so in the background. fd is
// the number that the dataset came with and keeps.
func takeVersions(fd int, emb *content) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	notify, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	// x/sys writes an abstract socket's leading zero byte for "@", as systemd's convention has it.
	to := &unix.SockaddrUnix{Name: os.Getenv("NOTIFY_SOCKET")}
	err = unix.Sendmsg(notify, []byte("X_PREFORKD_TAKES=emb"), unix.UnixRights(pair[1]), to, 0)
	if err := errors.Join(err, unix.Close(notify), unix.Close(pair[1])); err != nil {
		return fmt.Errorf("cannot say that versions are taken in place: %w", err)
	}
	go func() {
		for {
			more, err := takeOne(pair[0], fd, emb)
			if err != nil {
				fmt.Fprintln(os.Stderr, "benchtest: taking a version:", err)
			}
			if !more {
				return
			}
		}
	}()
	return nil
}

// takeOne waits for an offer, maps what it brings and answers. More is false when preforkd has closed its end.
func takeOne(socket, fd int, emb *content) (more bool, err error) {
	text, control := make([]byte, 64<<10), make([]byte, unix.CmsgSpace(4*16))
	n, controls, _, _, err := unix.Recvmsg(socket, text, control, unix.MSG_CMSG_CLOEXEC)
	if errors.Is(err, unix.EINTR) {
		return true, nil
	}
	if err != nil || n == 0 {
		return false, err
	}
	files, err := descriptors(control[:controls])
	if err != nil {
		return true, err
	}
	var offer struct {
		Offer int      `json:"offer"`
		FDs   []string `json:"fds"`
	}
	if err = json.Unmarshal(text[:n], &offer); err == nil {
		err = take(files, offer.FDs, fd, emb)
	}
	for _, f := range files {
		err = errors.Join(err, unix.Close(f))
	}
	reply := map[string]any{"offer": offer.Offer, "taken": err == nil}
	if err != nil {
		reply["error"] = err.Error()
	}
	said, _ := json.Marshal(reply)
	return true, errors.Join(err, unix.Send(socket, said, 0))
}

// take maps the new version and puts its descriptor in the place of the old one, which frees that.
func take(files []int, names []string, fd int, emb *content) error {
	if len(files) != 1 || len(names) != 1 || names[0] != "emb" {
		return fmt.Errorf("%d descriptors for %q", len(files), names)
	}
	if err := emb.replace(files[0]); err != nil {
		return err
	}
	return unix.Dup3(files[0], fd, unix.O_CLOEXEC)
}

func descriptors(control []byte) ([]int, error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil, err
	}
	var all []int
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return all, err
		}
		all = append(all, fds...)
	}
	return all, nil
}
