// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Package watch tells which files have become others.
//
// It promises: a file whose identity (device, inode, size, times) is no longer the one last told or set is told once
// it has rested, that is, when for the settle time nothing happened to it. What changed together is told together. All
// that decides what a path leads to is followed: the file, symbolic links on the way (Kubernetes swaps one to publish
// a ConfigMap), directories that go and come back. Inotify says where to look; beside it everything is looked at every
// ten seconds, for file systems without events (NFS, changes below an overlay), and every two where inotify has no
// more watches to give, which the log says with the sysctl to raise.
//
// A file that is missing is never told, nor one that keeps being written: half a file would be loaded. After a minute
// without rest the log says so, once. A pause in writing that is longer than the settle time is taken for the end: who
// writes slowly should write another file and rename it.
//
// It never reads a file. Of a directory that is watched like a file only its own identity counts, not what it holds.
package watch
