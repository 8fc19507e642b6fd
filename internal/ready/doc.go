// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Package ready answers one question: is this worker serving?
//
// It promises:
//   - Waiting looks at processes and keeps nothing: what it opens it closes. So does Watchers, which finds the epoll
//     entries that package process can silence before a stop.
//   - Probe.Wait returns nil once a worker counts as ready by its Mode, and otherwise says what it saw last.
//   - A Notifier hears one incarnation of one worker (sd_notify), and only the users allowed to speak for it.
//   - What a worker sends costs preforkd a bounded amount of work: a flood is merged, descriptors are closed at once. Only
//     sockets of processes that take new data themselves are handed on, so many in a minute.
//
// It never traces, signals or stops a worker, never writes to its memory, and sets no limit on how long a start may take:
// that is the fleet's. It connects to the listener only where --ready http:PATH or tcp asks for it. A descriptor of a
// worker that it duplicates to learn a socket's name is closed at once.
package ready
