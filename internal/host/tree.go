// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package host

// The process tree of a worker, read from /proc/PID/task/TID/children (Linux 3.5, CONFIG_PROC_CHILDREN, which every
// distribution sets): one small file a thread instead of a walk over every process of the host.

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Tree returns pid and its live descendants, the root first, parents before their children. proc is the mount point of
// procfs, normally "/proc". A process that ends during the walk is left out; a root that does not exist gives nil.
//
// A child that was re-parented away (its parent died) is no longer part of the tree: the kernel keeps no trace of it.
func Tree(proc string, pid int) []int {
	if _, err := os.Stat(proc + "/" + strconv.Itoa(pid)); err != nil {
		return nil
	}
	tree := []int{pid}
	for i := 0; i < len(tree); i++ {
		found, _ := Children(proc, tree[i])
		tree = append(tree, found...)
	}
	return tree
}

// Children returns the children of every thread of pid: a child belongs to the thread that forked it. The error is that
// of what could not be listed or read; a thread that ends meanwhile is none.
func Children(proc string, pid int) ([]int, error) {
	dir := proc + "/" + strconv.Itoa(pid) + "/task"
	threads, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []int
	var refused error
	for _, thread := range threads {
		text, err := os.ReadFile(dir + "/" + thread.Name() + "/children")
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ESRCH) {
				refused = err
			}
			continue
		}
		for field := range bytes.FieldsSeq(text) {
			if child, err := strconv.Atoi(string(field)); err == nil {
				out = append(out, child)
			}
		}
	}
	return out, refused
}
