// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Package rundir keeps the directory of one running instance: its lock, the place of its control socket and the links
// to its datasets.
//
//	<run dir>/lock              locked as long as the instance lives; holds its pid
//	<run dir>/control.sock      bound by package api
//	<run dir>/data/emb.v1.npy   one link for each version, and emb.npy for the newest
//
// It promises that two instances never use one directory at the same time, that what a killed instance left is gone
// when the next one has the lock, that a link is replaced in one step, and that Close removes everything made here.
//
// It never follows a symbolic link into the directory, never uses a directory that somebody else owns or may write, and
// never removes a file that it did not make. It knows nothing of sockets, datasets or workers.
//
// An instance can do without a run dir (read-only file systems, unusual owners): Open then answers with ErrUnavailable
// and the caller warns and goes on.
package rundir
