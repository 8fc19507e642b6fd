// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Package process is the only one that starts, signals and waits for processes. Linux only.
//
// # Starting
//
// Start and StartProducer must be called from one OS thread that is locked for life: the parent-death signal of a child
// fires when the *thread* that forked it ends (golang/go#27505). The child first runs this same program as the exec
// stage (see Stage), which prepares what Go cannot between fork and exec and then becomes the command.
//
// # Events
//
// For one process, in this order: Spawned, when the exec stage has become the command (its /proc files may be opened
// from then on; descriptors of smaps and pagemap opened before an exec read as empty for ever), then Exited, exactly
// once and last. Or SpawnFailed alone, when there never was a command. They come from the process's own goroutine.
//
// # Waiting
//
// One pidfd for each child in the netpoller, no thread; then wait4 of that exact pid. Never wait4(-1): it would steal
// the status of somebody else's child. Orphans that land here because preforkd is a subreaper or PID 1 are peeked at
// first and reaped by their pid, see ReapOrphans.
//
// # Groups
//
// Each child leads its own process group. A stop signal goes to the leader alone (a TERM to the whole group would kill
// the pool processes of a Celery worker, which finish their tasks when their master asks them). What is left of a group
// when its leader is dead gets the signal then, and KILL when the stop timeout is over, which began with the first stop
// signal, or at Kill. A process that went into a session or group of its own is not reached.
//
// # Output
//
// What a process writes into a pipe is copied as it comes, by a goroutine for each stream that ends with the stream: a
// grandchild may hold the pipe long after the process is gone. No event waits for it; Gone does, for half a second, so
// that what a worker said last is there when a fleet ends.
//
// # What it never does
//
// It keeps no list of processes, restarts nothing and decides nothing: who may start, and when to kill, is the
// caller's.
package process
